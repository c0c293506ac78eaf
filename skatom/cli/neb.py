"""``skatom neb``."""

from pathlib import Path

from skatom.cli.formats import write_structures
from skatom.cli.simulations import (
    check_plot_path,
    check_structures_path,
    formula,
    load_force_field,
    read_structures,
    results_of,
    save_plot,
)


def neb(arguments):
    """The path of lowest energy between two structures."""
    from skatom.mechanics import barrier
    from skatom.simulation.trajectory import frozen
    from skatom.simulation.watch import DeviationWatch

    out = arguments.out
    check_plot_path(arguments.plot)
    model, ends = load_force_field(arguments.model), read_structures(arguments)
    if len(ends) != 2:
        raise ValueError(
            f"a path needs two structures, but {', '.join(arguments.data)} has {len(ends)}: give "
            "two files, or one of two structures"
        )
    names = results_of(model, ends[0])
    for source in arguments.data:
        file_format = check_structures_path(out, source, ends[0], names)
    trajectory = Path(arguments.trajectory or f"{out}.steps.traj")
    print(f"Path      of {formula(ends[0])}, {arguments.images} images", flush=True)
    found = barrier(
        model, *ends, n_images=arguments.images, fmax=arguments.fmax, max_steps=arguments.steps,
        trajectory=trajectory, resume=arguments.resume, verbose=1,
    )  # fmt: skip
    print(f"          barrier {found.forward:.4g} eV forward, {found.backward:.4g} eV backward")
    watch = DeviationWatch(found.images[0].calc, arguments.max_std)
    for number, image in enumerate(found.images):
        watch.look(image, f"image {number}")
    write_structures(out, [frozen(image) for image in found.images], file_format)
    print(f"Saved     {out}: {len(found.images)} structures with {', '.join(names)}")
    save_plot(arguments.plot, "ReactionPathDisplay", found)
    if arguments.trajectory is None:
        trajectory.unlink()
