"""Rewritten models in the user's cache: a file that ONNX Runtime opens, and beside it what is known of it. No pickle, no partial file."""

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
"""In the names of entries in half precision."""


class Entry(Struct, frozen=True, eq=False):
    """What is kept for a model."""

    facts: dict[str, Any]
    model: str | bytes = b""
    """The rewritten model: its bytes when it was just made, its path when it comes from the cache; empty where the
    original is the best."""
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def graph_directory() -> Path:
    """Where rewritten models lie."""
    return cache_directory() / "graphs"


def prepare_cache(report: Reporter) -> None:
    """Make the cache, free it of what killed runs have left, and say where it cannot be made what that costs."""
    try:
        for place in (make_cache_directory().parent, graph_directory()):
            sweep(place)
    except OSError as error:
        why = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
        report.warn(
            f"nothing can be kept for the next run, which prepares the models again ({why}): XDG_CACHE_HOME names another place"
        )


def load_entry(name: str) -> Entry | None:
    """The entry of a name; None where there is none, or none that is whole."""
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
    """Keep an entry, in the place of older ones of the same model and processor; raises OSError where the cache cannot be written."""
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
    """Drop what trials of speed came to: that the original is the best, or half precision; what stays is exact and as fast."""
    with contextlib.suppress(OSError):
        for path in graph_directory().iterdir():
            model = path.with_name(f"{path.name}{MODEL}")
            if path.suffix != MODEL and not path.name.startswith(".") and (HALF in path.name or not model.exists()):
                path.unlink()
                model.unlink(missing_ok=True)


def make_cache_directory() -> Path:
    """The directory of rewritten models, made where it is missing; raises OSError."""
    directory = graph_directory()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def _digest(path: str) -> str:
    """The digest of a file's content, read in place; empty where it cannot be read."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return xxhash.xxh3_128_hexdigest(content)
    except (OSError, ValueError):
        return ""


def _forget_older(directory: Path, name: str) -> None:
    """Unlink the entries that differ from `name` in their last part only, which names the versions."""
    family = name.rpartition("-")[0]
    for other in directory.glob(f"{family}-*"):
        if other.name.removesuffix(MODEL) != name:
            with contextlib.suppress(OSError):
                other.unlink()
