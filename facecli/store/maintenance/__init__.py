"""Create an index, prepare it for writing, check and repair it."""
