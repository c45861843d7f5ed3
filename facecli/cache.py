"""Small JSON records in the user's cache. A cache that cannot be read or written costs time, never an answer."""

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
"""The records that hold what trials came to on this machine."""
LASTING_SECONDS = 90 * 86400
"""How long such an answer holds: what was measured while other programs were busy must not stand for ever."""


def cache_folder(name: str) -> Path | None:
    """A folder of the cache for a library that writes there itself, closed to others; None where it cannot be made."""
    try:
        path = cache_directory() / name
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
        directory = cache_directory()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(str(directory / f"{name}.json"), [json.dumps(read_record(name) | entries).encode()])


def recall_answer(name: str, key: str) -> Any:
    """What a trial came to, None where it was never made or is to be made again."""
    entry = read_record(name).get(key)
    return entry.get("answer") if isinstance(entry, dict) and still_holds(entry.get("made_at")) else None


def still_holds(made_at: object) -> bool:
    """Whether the answer of a trial that was made at this time, in seconds since 1970, is young enough."""
    if isinstance(made_at, int) and 0 <= time.time() - made_at < LASTING_SECONDS:
        return True
    with contextlib.suppress(OSError):
        # Where nothing can be kept, an old answer is better than a trial at every start.
        return not os.access(cache_directory(), os.W_OK)
    return True


def keep_answer(name: str, key: str, answer: str | bool) -> None:  # noqa: FBT001 (a value like any other)
    """Keep what a trial came to."""
    add_to_record(name, {key: {"answer": answer, "made_at": int(time.time())}})


def forget_trials() -> None:
    """Let every trial be made again."""
    for name in TRIALS:
        with contextlib.suppress(OSError):
            (cache_directory() / f"{name}.json").unlink()
