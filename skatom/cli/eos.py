"""``skatom eos``."""

from skatom.cli.formats import write_structures
from skatom.cli.simulations import (
    check_plot_path,
    check_structures_path,
    formula,
    load_force_field,
    read_one,
    results_of,
    save_plot,
)


def eos(arguments):
    """The equation of state of one crystal."""
    from skatom.mechanics import bulk_modulus

    check_plot_path(arguments.plot)
    model, atoms, out = load_force_field(arguments.model), read_one(arguments), arguments.out
    if out is not None:
        names = results_of(model, atoms)
        file_format = check_structures_path(out, arguments.data, atoms, names)
    found = bulk_modulus(model, atoms, strain=arguments.strain, n_points=arguments.points)
    print(f"Equation of state of {arguments.data}: {formula(atoms)}\n")
    print("  volume (Å³)   energy (eV)")
    for volume, energy in zip(found.volumes, found.energies, strict=True):
        print(f"  {volume:11.5f} {energy:13.6f}")
    print(f"\n  bulk modulus   {found.value:.5g} GPa")
    print(f"  lowest energy  {found.energy:.6f} eV at {found.volume:.6g} Å³\n")
    if out is not None:
        write_structures(out, found.images, file_format)
        print(f"Saved     {out}: {len(found.images)} structures with {', '.join(names)}")
    save_plot(arguments.plot, "EquationOfStateDisplay", found)
