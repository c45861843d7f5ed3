"""Options, the fingerprint of an index, and default places; no I/O."""

from __future__ import annotations

import math
import os
import re
from enum import StrEnum
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict, force_setattr

from facecli.errors import IndexMismatch, UsageError, quoted

DEFAULT_PACK = "buffalo_sc"
INDEX_NAME = ".facecli"
READING_VERSION = 1
"""Raised when the pixels that a file gives change: alpha, gray, 16 bits, orientation."""
ALIGNMENT_VERSION = 1
"""Raised when the crop that five landmarks give changes."""


class Precision(StrEnum):
    """How exactly the networks are evaluated: cosine min 0.999 or 0.998 to the reference."""

    EXACT = "exact"
    FAST = "fast"


class Combine(StrEnum):
    """How several queries make an answer."""

    SEPARATE = "separate"
    MEAN = "mean"
    ANY = "any"


class By(StrEnum):
    """What a row of an answer stands for."""

    PHOTO = "photo"
    FACE = "face"


LARGEST_FACE_ID = 2**63 - 1
LONGEST_NUMBER = 30
"""Digits that are looked at; Python refuses to read some thousands of them."""


class Bounds(Struct, frozen=True):
    """The numbers that an option takes."""

    least: int
    most: int
    step: int = 1
    """Whole multiples of it; 0 for any number, whole or not."""

    def __str__(self) -> str:
        kind = "a number" if not self.step else "a whole number" if self.step == 1 else f"a multiple of {self.step}"
        return f"{kind} from {self.least} to {self.most}"

    def hold(self, value: object) -> bool:
        """Whether a value is one of them; not-a-number never is."""
        number: Any = value
        if not isinstance(value, Integral if self.step else Real) or not self.least <= number <= self.most:
            return False
        return not self.step or bool(number % self.step == 0)

    def read(self, text: str) -> float:
        """The number that a text names; raises UsageError where it is none of them."""
        try:
            value = float(text) if not self.step else int(text) if len(text) <= LONGEST_NUMBER else math.nan
        except ValueError:
            value = math.nan
        if not self.hold(value):
            raise UsageError(f"not {self}", quoted(text))
        return value


BOUNDS = {
    "top": Bounds(0, 10**9),
    "jobs": Bounds(0, 4096),
    "batch_size": Bounds(1, 10**6),
    "det_size": Bounds(32, 8192, 32),
    "min_score": Bounds(0, 1, 0),
    "min_face": Bounds(0, 10**6),
    "wait_seconds": Bounds(0, 10**9, 0),
    "max_pixels": Bounds(1, 10**12),
    "max_memory": Bounds(1, 10**15),
}
"""What the options of these names take, on the command line and from Python."""


def whole_number(text: str, most: int) -> int | None:
    """The whole number from 0 to `most` that a text of ASCII digits names; None for every other text, of whatever length."""
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
        return None
    number = int(text)
    return number if number <= most else None


def read_face(asked: str) -> str:
    """`largest`, `all`, or the number of a face from 1 as plain digits; raises UsageError on anything else."""
    if asked in ("largest", "all"):
        return asked
    number = whole_number(asked, 10**9)
    if not number:
        raise UsageError("not largest, all or the number of a face", quoted(asked))
    return str(number)


def _settle(options: Struct) -> None:
    """Raise UsageError where an option has a value that it does not take; words become members of their enums."""
    for name in options.__struct_fields__:
        value = getattr(options, name)
        if value is None:
            continue
        if name in BOUNDS and not BOUNDS[name].hold(value):
            raise UsageError(f"{name} is {BOUNDS[name]}", quoted(value))
        if name in _WORDS:
            if value not in list(_WORDS[name]):
                raise UsageError(f"{name} is one of {', '.join(_WORDS[name])}", quoted(value))
            force_setattr(options, name, _WORDS[name](value))


_WORDS: dict[str, type[StrEnum]] = {"precision": Precision, "combine": Combine, "by": By}


class DetectionOptions(Struct, frozen=True):
    """How faces are looked for; part of the fingerprint."""

    det_size: int = 640
    """Side of the square that the photo is fitted into, in pixels."""
    small_scale: int = 128
    """Side of the second pass that adds faces which fill the frame; 0 for none."""
    min_score: float = 0.5
    min_face: int = 0
    """Least width and height of a face's box in pixels of the photo."""
    rotate: bool = True
    """Whether a photo in which no sure face was found is tried at 90, 180 and 270 degrees."""
    tiles: bool = False
    """Whether overlapping tiles are searched as well, for small faces; panoramas are, in coarser ones, in any case."""


class ReadOptions(Struct, frozen=True):
    """How files become pixels."""

    max_pixels: int = 200_000_000
    accept_truncated: bool = False

    def __post_init__(self) -> None:
        _settle(self)


class ScanOptions(Struct, frozen=True):
    """Which files of a directory are looked at."""

    recursive: bool = True
    follow_symlinks: bool = False
    exclude: tuple[str, ...] = ()
    """Patterns as in .gitignore."""


BEFORE: dict[str, object] = {
    "det_size": 640,
    "small_scale": 128,
    "min_score": 0.5,
    "min_face": 0,
    "rotate": True,
    "tiles": False,
    "precision": "exact",
    "reading": 1,
    "alignment": 1,
    "metric": "cosine",
}
"""What versions did that did not have such a setting yet: an index that lacks it was made by one of them. A new setting gets its line here."""
_SETTINGS = {
    **{name: BOUNDS[name] for name in ("det_size", "min_score", "min_face")},
    "small_scale": Bounds(0, 8192, 32),
    "dimension": Bounds(1, 65536),
    "reading": Bounds(1, 10**6),
    "alignment": Bounds(1, 10**6),
}
"""What the settings of these names are in an index."""
_PACK = ("model", "detector_sha256", "recogniser_sha256", "dimension")
_LONGEST_NAME = 4096
_SHA256 = re.compile("[0-9a-f]{64}")
_CALLED = {"tiles": "thorough", "reading": "version of reading", "alignment": "version of alignment"}
"""What settings are called in messages, where that is not their own name."""


class Fingerprint(Struct, frozen=True):
    """Everything that decides which embedding a photo gets; two of these never stand in one set."""

    model: str
    """The pack's name, or the directory it was named by; said in messages, not compared."""
    detector_sha256: str
    recogniser_sha256: str
    dimension: int
    detection: DetectionOptions = field(default_factory=DetectionOptions)
    precision: Precision = Precision.EXACT
    reading: int = READING_VERSION
    alignment: int = ALIGNMENT_VERSION
    metric: str = "cosine"

    def to_record(self) -> dict[str, object]:
        """A flat record of plain values, for JSON."""
        record = asdict(self)
        record |= asdict(self.detection)
        del record["detection"]
        record["precision"] = str(self.precision)
        return record

    @classmethod
    def from_record(cls, record: dict[str, object]) -> Fingerprint:
        """Read what `to_record` gave, of this version or an earlier one; raises KeyError, TypeError or ValueError on anything else."""
        found: dict[str, Any] = BEFORE | record
        _ask_sane(found)
        detection = DetectionOptions(**{n: found[n] for n in DetectionOptions.__struct_fields__})
        rest = {n: found[n] for n in cls.__struct_fields__ if n not in ("detection", "precision")}
        return cls(**rest, detection=detection, precision=Precision(found["precision"]))

    @staticmethod
    def unknown(record: dict[str, object]) -> list[str]:
        """The settings in a record that this version does not know."""
        return sorted(record.keys() - BEFORE.keys() - set(_PACK))

    def differences(self, other: Fingerprint) -> list[tuple[str, object, object]]:
        """Each setting that differs: its name, the value here, the value there; the pack counts once, by its hashes."""
        mine, theirs = self.to_record(), other.to_record()
        pack = ("detector_sha256", "recogniser_sha256")
        found: list[tuple[str, object, object]] = []
        if any(mine[n] != theirs[n] for n in pack):
            found.append(("model", self.model, other.model))
        found += [(n, mine[n], theirs[n]) for n in mine if n not in ("model", *pack) and mine[n] != theirs[n]]
        return found

    def as_made_here(self) -> Fingerprint:
        """The same pack and settings as this version of facecli reads, aligns and compares."""
        return Fingerprint(self.model, self.detector_sha256, self.recogniser_sha256, self.dimension, self.detection, self.precision)

    def ask_same(self, wanted: Fingerprint, index: object, hint: str) -> None:
        """Raise IndexMismatch where an index of this fingerprint is not what is wanted; the message has each setting with both values."""
        differences = self.differences(wanted)
        said = [f"{_CALLED.get(name, name.replace('_', '-'))} {_shown(mine)}, not {_shown(theirs)}" for name, mine, theirs in differences]
        if said:
            raise IndexMismatch(f"the index was made with {', '.join(said)}", index, hint=hint)


def _shown(value: object) -> str:
    """A setting's value for a message; a directory by its last name too."""
    text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
    return f"{os.path.basename(text)} ({text})" if os.sep in text else text


def _ask_sane(record: dict[str, Any]) -> None:
    """Raise ValueError or TypeError where a setting of an index is nothing that facecli wrote there."""
    for name, value in record.items():
        if name in _SETTINGS and not _SETTINGS[name].hold(value):
            raise ValueError(name)
        if isinstance(value, bool) != isinstance(BEFORE.get(name), bool):
            raise TypeError(name)
    os.fsencode(record["model"])
    if len(record["model"]) > _LONGEST_NAME or len(str(record["metric"])) > _LONGEST_NAME:
        raise ValueError("a name of such a length")
    if not (_SHA256.fullmatch(record["detector_sha256"]) and _SHA256.fullmatch(record["recogniser_sha256"])):
        raise ValueError("no hash")


class IndexOptions(Struct, frozen=True):
    """What an index run was asked for; None where an option was not named, so that the index's own value holds."""

    model: str | None = None
    device: str = "auto"
    jobs: int = 0
    """Worker threads; 0 for one per usable core."""
    batch_size: int = 64
    """The most photos that one commit holds."""
    det_size: int | None = None
    min_score: float | None = None
    min_face: int | None = None
    rotate: bool | None = None
    thorough: bool | None = None
    precision: Precision | None = None
    scan: ScanOptions = field(default_factory=ScanOptions)
    reading: ReadOptions = field(default_factory=ReadOptions)
    force: bool = False
    migrate: bool = False
    drop_unreachable: bool = False
    prune: bool | None = None
    """None: prune by the rules; True: also where most of a root would go; False: never."""
    retry_skipped: bool = False
    dry_run: bool = False
    wait_seconds: float = 0.0
    max_memory: int | None = None
    """Bytes of files and decoded pixels in flight; None for the lesser of 2 GB and a quarter of the memory."""

    def __post_init__(self) -> None:
        _settle(self)


class SearchOptions(Struct, frozen=True):
    """What a search was asked for."""

    top: int = 10
    """Rows in a block; 0 for all."""
    threshold: str = "auto"
    """A number, loose, balanced, strict, auto or none."""
    face: str = "largest"
    """Largest, all, or a face's number."""
    combine: Combine = Combine.SEPARATE
    by: By = By.PHOTO
    model: str | None = None
    device: str = "auto"
    reading: ReadOptions = field(default_factory=ReadOptions)
    provenance: bool = False
    """Whether the SHA-256 of each query photo is wanted."""

    def __post_init__(self) -> None:
        _settle(self)
        force_setattr(self, "face", read_face(str(self.face)))


def cache_directory() -> Path:
    """The user's cache: rewritten graphs, answers of trials, manifests of unknown packs."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and os.path.isabs(base) else Path.home() / ".cache") / "facecli"


def insightface_directory() -> Path:
    """Where InsightFace keeps its packs."""
    return Path.home() / ".insightface" / "models"
