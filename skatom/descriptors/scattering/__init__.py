"""What wavelet scattering is made of: charges, wavelets, grids, paths, and the two passes."""
