"""facecli finds faces in directories of photos and searches them by likeness.

From Python: `index_photos(IndexRequest(…))` brings an index up to date, `open_index(directory)` reads one, and `search_index(reader,
queries)` answers queries from it. Each name is imported when it is first used, so that a command pays only for what it needs.
"""

TYPE_CHECKING = False  # as in typing, which the command line does not wait for
if TYPE_CHECKING:
    from typing import Any

    from facecli.config import IndexOptions, SearchOptions
    from facecli.indexing import IndexRequest, index_photos
    from facecli.searching.answering import search_index
    from facecli.store.facestore import open_reader as open_index

__all__ = ["IndexOptions", "IndexRequest", "SearchOptions", "__version__", "index_photos", "open_index", "search_index"]
__version__ = "0.1.0"

_HOMES = {
    "IndexOptions": ("facecli.config", "IndexOptions"),
    "SearchOptions": ("facecli.config", "SearchOptions"),
    "IndexRequest": ("facecli.indexing", "IndexRequest"),
    "index_photos": ("facecli.indexing", "index_photos"),
    "search_index": ("facecli.searching.answering", "search_index"),
    "open_index": ("facecli.store.facestore", "open_reader"),
}


def __getattr__(name: str) -> "Any":
    """A public name, from the room where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (not for the command line)

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
