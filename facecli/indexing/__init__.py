"""Index photos: plan, look, write, prune, report."""

from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest

__all__ = ["IndexRequest", "index_photos"]
