"""Output formats: one module per format, behind one protocol."""
