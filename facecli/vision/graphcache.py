"""Rewritten models in the user's cache, one file each: a digest, a header in JSON, then arrays. No pickle, no partial file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from facecli.config import cache_directory

MAGIC = b"facecli\x01"
DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """What is kept for a model: facts, and arrays by name."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def graph_directory() -> Path:
    """Where rewritten models lie."""
    return cache_directory() / "graphs"


def load_entry(name: str) -> Entry | None:
    """The entry of a name; None where there is none, or none that is whole."""
    try:
        data = (graph_directory() / name).read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + DIGEST_BYTES
    if data[: len(MAGIC)] != MAGIC or xxhash.xxh3_128_digest(memoryview(data)[start:]) != data[len(MAGIC) : start]:
        return None
    length = int.from_bytes(data[start : start + 4], "little")
    header = json.loads(data[start + 4 : start + 4 + length])
    offset, arrays = start + 4 + length, {}
    for key, kind, shape in header["arrays"]:
        count = int(np.prod(shape))
        arrays[key] = np.frombuffer(data, kind, count, offset).reshape(shape)
        offset += arrays[key].nbytes
    return Entry(header["facts"], arrays)


def store_entry(name: str, entry: Entry) -> None:
    """Keep an entry, in the place of older ones of the same model and processor; raises OSError where the cache cannot be written."""
    described = [(key, a.dtype.str, a.shape) for key, a in entry.arrays.items()]
    header = json.dumps({"facts": entry.facts, "arrays": described}).encode()
    body = b"".join((len(header).to_bytes(4, "little"), header, *(np.ascontiguousarray(a).tobytes() for a in entry.arrays.values())))
    directory = make_directory()
    handle, temporary = tempfile.mkstemp(prefix=".new-", dir=directory)
    try:
        with open(handle, "wb") as file:
            file.write(MAGIC + xxhash.xxh3_128_digest(body))
            file.write(body)
        os.replace(temporary, directory / name)
    except OSError:
        os.unlink(temporary)
        raise
    _forget_older(directory, name)


def make_directory() -> Path:
    """The directory of rewritten models, made where it is missing; raises OSError."""
    directory = graph_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _forget_older(directory: Path, name: str) -> None:
    """Unlink the entries that differ from `name` in their last part only, which names the versions."""
    family = name.rpartition("-")[0]
    for other in directory.glob(f"{family}-*"):
        if other.name != name:
            with contextlib.suppress(OSError):
                other.unlink()
