"""Options, the fingerprint of an index, and default places; no I/O."""

from __future__ import annotations

import errno
import os
from enum import StrEnum
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import asdict

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


class ScanOptions(Struct, frozen=True):
    """Which files of a directory are looked at."""

    recursive: bool = True
    follow_symlinks: bool = False
    exclude: tuple[str, ...] = ()
    """Patterns as in .gitignore."""


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
        """Read what `to_record` gave; raises KeyError, TypeError or ValueError on anything else."""
        detection = DetectionOptions(**{n: _kind_of(n)(record[n]) for n in DetectionOptions.__struct_fields__})
        rest = {n: record[n] for n in cls.__struct_fields__ if n not in ("detection", "precision")}
        return cls(**rest, detection=detection, precision=Precision(str(record["precision"])))  # type: ignore[arg-type]

    def differences(self, other: Fingerprint) -> list[tuple[str, object, object]]:
        """Each setting that differs: its name, the value here, the value there; the pack counts once, by its hashes."""
        mine, theirs = self.to_record(), other.to_record()
        pack = ("detector_sha256", "recogniser_sha256")
        found: list[tuple[str, object, object]] = []
        if any(mine[n] != theirs[n] for n in pack):
            found.append(("model", self.model, other.model))
        found += [(n, mine[n], theirs[n]) for n in mine if n not in ("model", *pack) and mine[n] != theirs[n]]
        return found


def _kind_of(name: str) -> type:
    return type(getattr(DetectionOptions(), name))


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
    """Bytes of decoded pixels in flight; None for the lesser of 2 GB and a quarter of the memory."""


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


NO_HOME = "there is no home directory"


def cache_directory() -> Path:
    """The user's cache: rewritten graphs, answers of trials, manifests of unknown packs. Raises FileNotFoundError where there is none."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and os.path.isabs(base) else home_directory() / ".cache") / "facecli"


def insightface_directory() -> Path:
    """Where InsightFace keeps its packs. Raises FileNotFoundError where there is no home directory."""
    return home_directory() / ".insightface" / "models"


def home_directory() -> Path:
    """The user's home directory: a container's arbitrary user may have none, neither by HOME nor in the list of users."""
    named = os.environ.get("HOME", "")
    if not os.path.isabs(named):
        import pwd  # noqa: PLC0415  # HOME is set almost everywhere

        try:
            named = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            named = ""
    if not os.path.isabs(named):
        raise FileNotFoundError(errno.ENOENT, NO_HOME)
    return Path(named)
