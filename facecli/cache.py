"""Small JSON records in the user's cache.

Results never depend on the cache: if it cannot be read or written, facecli is only slower.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from facecli.directories import cache_directory
from facecli.whole_files import write_whole

TRIALS = ("devices", "openvino")
"""The records that hold the results of trials on this machine."""
LASTING_SECONDS = 90 * 86400
"""How long the result of a trial is valid; it expires because it may have been measured while other programs ran."""


def cache_folder(name: str) -> Path | None:
    """Create a private cache folder for a library that writes its own files; None if it cannot be created."""
    try:
        path = cache_directory() / name
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return path


def read_record(name: str) -> dict[str, Any]:
    """Read the record NAME.json; empty if it is missing or cannot be read."""
    try:
        record = json.loads((cache_directory() / f"{name}.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def add_to_record(name: str, entries: dict[str, Any]) -> None:
    """Add `entries` to the record NAME.json and keep the entries of other processes."""
    with contextlib.suppress(OSError):
        directory = cache_directory()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(str(directory / f"{name}.json"), [json.dumps(read_record(name) | entries).encode()])


def recall_answer(name: str, key: str) -> Any:
    """Return the stored result of a trial; None if it was never made or has expired."""
    entry = read_record(name).get(key)
    return entry.get("answer") if isinstance(entry, dict) and still_holds(entry.get("made_at")) else None


def still_holds(made_at: object) -> bool:
    """Whether the result of a trial made at this time, in seconds since 1970, is still valid."""
    if isinstance(made_at, int) and 0 <= time.time() - made_at < LASTING_SECONDS:
        return True
    with contextlib.suppress(OSError):
        # If the cache is read-only, an old result is better than a trial at every start.
        return not os.access(cache_directory(), os.W_OK)
    return True


def keep_answer(name: str, key: str, answer: str | bool) -> None:  # noqa: FBT001 (a value like any other)
    """Store the result of a trial."""
    add_to_record(name, {key: {"answer": answer, "made_at": int(time.time())}})


def forget_trials() -> None:
    """Delete the results of all trials, so that each is made again."""
    for name in TRIALS:
        with contextlib.suppress(OSError):
            (cache_directory() / f"{name}.json").unlink()
