"""How answers are written: one format, one file, behind one protocol."""
