"""What the store runs on: the build of FAISS, and SQLite's version."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from msgspec import Struct


class FaissBuild(Struct, frozen=True):
    """The FAISS that is installed."""

    version: str
    options: str
    """What it was compiled for, such as AVX2."""
    gpus: int
    """How many GPUs it can use; 0 for a build without them."""


def faiss_build() -> FaissBuild:
    """Ask the FAISS that is installed; raises ImportError where it cannot be loaded."""
    # Imported here, so that the rest can be told where FAISS is broken.
    import faiss  # noqa: PLC0415

    count: Callable[[], int] = getattr(faiss, "get_num_gpus", lambda: 0)
    return FaissBuild(str(faiss.__version__), str(faiss.get_compile_options()).strip(), int(count()))


def sqlite_version() -> str:
    """The version of the SQLite library."""
    return sqlite3.sqlite_version
