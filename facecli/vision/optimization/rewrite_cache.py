"""Cache of rewritten models: an ONNX file, and a file with its metadata and arrays. No pickle, no partial files."""

from __future__ import annotations

import contextlib
import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from msgspec import Struct, field
from numpy.typing import NDArray

from facecli.directories import cache_directory
from facecli.reporting import Reporter
from facecli.scratch import sweep
from facecli.whole_files import write_whole

MAGIC = b"facecli\x02"
DIGEST_BYTES = 16
MODEL = ".onnx"
HALF = "recogniser-half"
"""Part of the names of half precision entries."""


class Entry(Struct, frozen=True, eq=False):
    """A cache entry."""

    facts: dict[str, Any]
    model: str | bytes = b""
    """The rewritten model: its bytes if just made, its path if from the cache; empty if the original is the best."""
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def graph_directory() -> Path:
    """The directory of rewritten models."""
    return cache_directory() / "graphs"


def prepare_cache(report: Reporter) -> None:
    """Create the cache and delete leftovers of killed runs; warns if the cache cannot be created."""
    try:
        for place in (make_cache_directory().parent, graph_directory()):
            sweep(place)
    except OSError as error:
        why = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        report.warn(
            f"the cache cannot be written, so the next run prepares the models again ({why}): "
            "set XDG_CACHE_HOME to another directory"
        )


def load_entry(name: str) -> Entry | None:
    """The entry of this name; None if missing or damaged."""
    try:
        path = graph_directory() / name
        data = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + DIGEST_BYTES
    if data[: len(MAGIC)] != MAGIC or xxhash.xxh3_128_digest(memoryview(data)[start:]) != data[len(MAGIC) : start]:
        return None
    length = int.from_bytes(data[start : start + 4], "little")
    header = json.loads(data[start + 4 : start + 4 + length])
    if header["digest"] and _digest(f"{path}{MODEL}") != header["digest"]:
        return None
    offset, arrays = start + 4 + length, {}
    for key, kind, shape in header["arrays"]:
        arrays[key] = np.frombuffer(data, kind, int(np.prod(shape)), offset).reshape(shape)
        offset += arrays[key].nbytes
    return Entry(header["facts"], f"{path}{MODEL}" if header["digest"] else b"", arrays)


def store_entry(name: str, entry: Entry) -> None:
    """Store an entry and delete older ones of the same model and processor; raises OSError."""
    assert isinstance(entry.model, bytes)
    directory = make_cache_directory()
    if entry.model:
        write_whole(f"{directory / name}{MODEL}", [entry.model])
    described = [(key, a.dtype.str, a.shape) for key, a in entry.arrays.items()]
    digest = xxhash.xxh3_128_hexdigest(entry.model) if entry.model else ""
    header = json.dumps({"facts": entry.facts, "arrays": described, "digest": digest}).encode()
    body = b"".join(
        (len(header).to_bytes(4, "little"), header, *(np.ascontiguousarray(a).tobytes() for a in entry.arrays.values()))
    )
    write_whole(str(directory / name), [MAGIC, xxhash.xxh3_128_digest(body), body])
    _forget_older(directory, name)


def forget_answers() -> None:
    """Delete the results that depend on measured speed: that the original is the best, and half precision.

    The other entries give exact results and are not slower.
    """
    with contextlib.suppress(OSError):
        for path in graph_directory().iterdir():
            model = path.with_name(f"{path.name}{MODEL}")
            if path.suffix != MODEL and not path.name.startswith(".") and (HALF in path.name or not model.exists()):
                path.unlink()
                model.unlink(missing_ok=True)


def make_cache_directory() -> Path:
    """The directory of rewritten models, created if missing; raises OSError."""
    directory = graph_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _digest(path: str) -> str:
    """The digest of a file's content, by mmap; empty if it cannot be read."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return xxhash.xxh3_128_hexdigest(content)
    except (OSError, ValueError):
        return ""


def _forget_older(directory: Path, name: str) -> None:
    """Delete the entries that differ from `name` only in the last part, the digest of versions."""
    family = name.rpartition("-")[0]
    for other in directory.glob(f"{family}-*"):
        if other.name.removesuffix(MODEL) != name:
            with contextlib.suppress(OSError):
                other.unlink()
