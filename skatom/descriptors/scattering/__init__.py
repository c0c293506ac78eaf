"""The parts of wavelet scattering: charges, wavelets, grids, paths, and the two passes."""
