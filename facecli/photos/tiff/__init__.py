"""TIFF and PSD by their layouts."""
