"""facecli finds the faces in directories of photos and searches for similar faces.

    from facecli import Index

    index = Index("photos.index")
    index.add("~/Photos")
    for match in index.search("portrait.jpg", top=5):
        print(match.similarity, match.path)

Public names are imported on first use, so that a command loads only what it needs.
"""

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which would slow down the command line
if TYPE_CHECKING:
    from typing import Any

    from facecli.config import IndexOptions as IndexOptions
    from facecli.errors import FacecliError as FacecliError
    from facecli.errors import IndexLocked as IndexLocked
    from facecli.errors import IndexMissing as IndexMissing
    from facecli.errors import OutputError as OutputError
    from facecli.errors import PhotoError as PhotoError
    from facecli.errors import QueryError as QueryError
    from facecli.errors import StoreError as StoreError
    from facecli.errors import UsageError as UsageError
    from facecli.library import Index as Index
    from facecli.library import find_faces as find_faces
    from facecli.library import verify as verify
    from facecli.merging import MergeReport as MergeReport
    from facecli.naming.album import IndexPeople as IndexPeople
    from facecli.naming.listing import Choice as Choice
    from facecli.naming.listing import Which as Which
    from facecli.persons import AlikePeople as AlikePeople
    from facecli.persons import PersonFace as PersonFace
    from facecli.persons import PersonInfo as PersonInfo
    from facecli.searching.matches import Matches as Matches
    from facecli.searching.verifying import Verdict as Verdict
    from facecli.store.records import IndexInfo as IndexInfo
    from facecli.store.records import Problem as Problem
    from facecli.store.records import Removal as Removal
    from facecli.store.records import StoredFace as StoredFace
    from facecli.store.records import StoredPhoto as StoredPhoto
    from facecli.types import IndexReport as IndexReport
    from facecli.types import Match as Match
    from facecli.types import QueryFace as QueryFace

__version__ = "0.1.0"

_HOMES = {
    "AlikePeople": "persons",
    "Choice": "naming.listing",
    "FacecliError": "errors",
    "Index": "library",
    "IndexInfo": "store.records",
    "IndexLocked": "errors",
    "IndexMissing": "errors",
    "IndexOptions": "config",
    "IndexPeople": "naming.album",
    "IndexReport": "types",
    "Match": "types",
    "Matches": "searching.matches",
    "MergeReport": "merging",
    "OutputError": "errors",
    "PersonFace": "persons",
    "PersonInfo": "persons",
    "PhotoError": "errors",
    "Problem": "store.records",
    "QueryError": "errors",
    "QueryFace": "types",
    "Removal": "store.records",
    "StoreError": "errors",
    "StoredFace": "store.records",
    "StoredPhoto": "store.records",
    "UsageError": "errors",
    "Verdict": "searching.verifying",
    "Which": "naming.listing",
    "find_faces": "library",
    "verify": "library",
}
"""Each public name and its module below facecli."""
__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 (names)


def __getattr__(name: str) -> "Any":
    """Import a public name from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 (the command line does not need it)

    return getattr(import_module(f"facecli.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
