"""facecli finds faces in directories of photos and searches them by likeness."""

__version__ = "0.1.0"
