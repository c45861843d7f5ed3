"""Decode TIFF and PSD files."""
