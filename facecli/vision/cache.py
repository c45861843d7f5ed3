"""Small JSON records in the user's cache. A cache that cannot be read or written costs time, never an answer."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from facecli.config import cache_directory


def cache_folder(name: str) -> Path | None:
    """A folder of the cache for a library that writes there itself, closed to others; None where it cannot be made."""
    path = cache_directory() / name
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return path


def read_record(name: str) -> dict[str, Any]:
    """The record NAME.json; empty where there is none, or none that can be read."""
    try:
        record = json.loads((cache_directory() / f"{name}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def add_to_record(name: str, entries: dict[str, Any]) -> None:
    """Put `entries` into the record NAME.json, beside what other processes have put there."""
    with contextlib.suppress(OSError):
        import tempfile  # noqa: PLC0415  # most runs write nothing

        directory = cache_directory()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{name}-", dir=directory)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                json.dump(read_record(name) | entries, file)
            os.replace(temporary, directory / f"{name}.json")
        except OSError:
            os.unlink(temporary)
            raise
