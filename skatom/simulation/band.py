"""Nudged elastic bands, which go on after an interruption."""

import numpy as np
from ase.mep import NEB
from ase.optimize import FIRE

from skatom._progress import tqdm


class ElasticBand:
    """Images between two structures, relaxed at first without, then with a climbing image.

    Parameters
    ----------
    images : list of ase.Atoms
        The images with their calculators; the first and the last stay as they are.
    spring : float
        Spring constant in eV/Å².
    file : TrajectoryFile
        All images after each step. If it has some, the band goes on from the last ones.
    verbose : int
        Whether to count the steps on stderr.
    """

    def __init__(self, images, spring, file, verbose):
        self.images, self.spring, self.file = images, spring, file
        self.free = not images[0].pbc.any()
        self.begin, self.climbs = self._restored()
        self.bar = tqdm(desc="band", unit=" steps", initial=sum(self.begin), disable=not verbose)

    @property
    def is_new(self):
        """Whether the file had no band."""
        return not self.file.before

    def relax(self, fmax, max_steps):
        """Relax the band; whether it is converged in the end."""
        converged = False
        with self.bar:
            for climb in (False, True):
                if climb or not self.climbs:
                    converged = self._stage(climb, fmax, max_steps - self.begin[climb])
        return converged

    def _stage(self, climb, fmax, max_steps):
        band = NEB(
            self.images, k=self.spring, climb=climb, method="improvedtangent",
            allow_shared_calculator=True, remove_rotation_and_translation=self.free,
        )  # fmt: skip
        if self.is_new and not climb:
            band.interpolate("idpp", mic=not self.free)
        method = FIRE(band, logfile=None)
        method.attach(self._write, 1, band, method, climb)
        return bool(method.run(fmax=fmax, steps=max(max_steps, 0)))

    def _write(self, band, method, climb):
        if method.nsteps == 0 and climb == self.climbs and not self.is_new:
            return  # the last band of the file
        largest = np.linalg.norm(band.get_forces().reshape(-1, 3), axis=1).max()
        for number, image in enumerate(self.images):
            image.get_forces()  # a calculator that images share knows the last one alone
            self.file.write(
                image, step=self.begin[climb] + method.nsteps, climb=climb, image=number
            )
        stage = "climbing, " if climb else ""
        self.bar.set_postfix_str(f"{stage}largest force {largest:.3f} eV/Å", refresh=False)
        self.bar.update()

    def _restored(self):
        """Steps of both stages that were taken before, and whether the image climbed already."""
        if self.is_new:
            return [0, 0], False
        last = list(self.file.before[-len(self.images) :])
        for image, frame in zip(self.images, last, strict=True):
            image.set_cell(frame.cell)
            image.positions = frame.positions
        climb = last[-1].info["climb"]
        steps = [0, 0]
        steps[climb] = last[-1].info["step"]
        return steps, climb
