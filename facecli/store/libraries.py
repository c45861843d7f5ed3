"""The installed FAISS build and SQLite version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from msgspec import Struct


class FaissBuild(Struct, frozen=True):
    """The installed FAISS."""

    version: str
    options: str
    """Its compile options, such as AVX2."""
    gpus: int
    """How many GPUs it can use; 0 for a build without them."""


def faiss_build() -> FaissBuild:
    """Describe the installed FAISS; raises whatever it raises where it cannot be loaded."""
    # Imported here, so that everything else can be reported when FAISS is broken.
    import faiss  # noqa: PLC0415

    count: Callable[[], int] = getattr(faiss, "get_num_gpus", lambda: 0)
    return FaissBuild(str(faiss.__version__), str(faiss.get_compile_options()).strip(), int(count()))


def sqlite_version() -> str:
    """The version of the SQLite library."""
    return sqlite3.sqlite_version
