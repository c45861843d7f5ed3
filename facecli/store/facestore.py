"""The index on disk: the catalogue, which is the truth, and the vector file, which is derived from it."""

from facecli.store.reader import IndexReader, open_reader
from facecli.store.writer import IndexWriter, open_writer, repair_index

__all__ = ["IndexReader", "IndexWriter", "open_reader", "open_writer", "repair_index"]
