"""Options, their limits, and default names; no I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from numbers import Integral, Real
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from facecli.errors import UsageError, quoted
from facecli.limits import PhotoLimits

DEFAULT_PACK = "buffalo_sc"
INDEX_NAME = ".facecli"
WAIT_READERS = 10.0
"""Seconds that a removal waits for open readers, which still see the removed data."""
IGNORE_NAME = ".facecliignore"
"""The file in a directory of photos with patterns of what is not indexed below it."""
OUTPUT_NAME = ".facecli-output"
"""The file that marks a directory that facecli made for copies, links or crops, so that it is not indexed."""
CATALOGUE_NAME = "catalog.db"
"""The file that marks a directory as an index."""
INDEX_MARK = 0x66616365
"""SQLite's application_id of the catalogue; tells it from other databases."""
READING_VERSION = 1
"""Incremented when a file decodes to other pixels: alpha, gray, 16 bits, orientation."""
ALIGNMENT_VERSION = 1
"""Incremented when the same five landmarks give another crop."""


class Precision(StrEnum):
    """Precision of the networks: a cosine of at least 0.999 (exact) or 0.998 (fast) to the reference."""

    EXACT = "exact"
    FAST = "fast"


class Combine(StrEnum):
    """How several queries are combined."""

    SEPARATE = "separate"
    MEAN = "mean"
    ANY = "any"
    ALL = "all"


class By(StrEnum):
    """What one row of the results is."""

    PHOTO = "photo"
    FACE = "face"


LONGEST_PATTERN = 4096
"""The most characters of a pattern to exclude."""
MOST_PATTERNS = 1000
"""The most patterns to exclude that an index keeps."""
LARGEST_FACE_ID = 2**63 - 1
MOST_PARTS = 1_000_000
LONGEST_NUMBER = 30
"""The most digits that are parsed; Python refuses numbers of several thousand digits."""


class Bounds(Struct, frozen=True):
    """The numbers that an option accepts."""

    least: int
    most: int
    step: int = 1
    """Only multiples of this are accepted; 0 accepts fractions too."""

    def __str__(self) -> str:
        kind = "a number" if not self.step else "a whole number" if self.step == 1 else f"a multiple of {self.step}"
        return f"{kind} from {self.least} to {self.most}"

    def hold(self, value: object) -> bool:
        """Whether a value is within the bounds; NaN never is."""
        number: Any = value
        if (
            isinstance(value, bool)
            or not isinstance(value, Integral if self.step else Real)
            or not self.least <= number <= self.most
        ):
            return False
        return not self.step or bool(number % self.step == 0)

    def read(self, text: str) -> float:
        """Parse a number; raises UsageError if it is not within the bounds."""
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
    "min_photos": Bounds(0, 10**9),
    "link": Bounds(0, 1, 0),
    "processes": Bounds(0, 1024),
    "workers": Bounds(0, 10**5),
    "chunk": Bounds(0, 4096),
    "worker_gpus": Bounds(0, 64, 0),
    "worker_cpus": Bounds(1, 1024),
}
"""Limits of options by name, for the command line and for Python."""


def read_part(asked: str) -> tuple[int, int]:
    """Read a part I/N as I and N, of which I is from 1 to N; raises UsageError on anything else."""
    number, _, count = asked.partition("/")
    of = whole_number(count, MOST_PARTS) or 0
    one = whole_number(number, of) or 0
    if not one:
        raise UsageError("not a part such as 1/3", quoted(asked))
    return one, of


def whole_number(text: str, most: int) -> int | None:
    """Parse ASCII digits as a number from 0 to `most`; None for any other text, however long."""
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER):
        return None
    number = int(text)
    return number if number <= most else None


def read_face(asked: str) -> str:
    """Check a choice of face: `largest`, `all` or a number from 1; raises UsageError on anything else."""
    if asked in ("largest", "all"):
        return asked
    number = whole_number(asked, 10**9)
    if not number:
        raise UsageError("not largest, all or the number of a face", quoted(asked))
    return str(number)


def read_fleet(asked: str) -> str:
    """Check where the workers of a fleet are: local, local:N, auto or ray://HOST:PORT; raises UsageError."""
    kind, colon, number = asked.partition(":")
    host, _, port = asked.removeprefix("ray://").rpartition(":")
    is_local = kind == "local" and (not colon or bool(whole_number(number, BOUNDS["workers"].most)))
    is_cluster = asked.startswith("ray://") and bool(host) and bool(whole_number(port, 65535)) and "/" not in host
    if not (is_local or is_cluster or asked == "auto"):
        raise UsageError("not local, local:N, auto or ray://HOST:PORT", quoted(asked))
    return asked


def _settle(options: Struct) -> None:
    """Check the values of options and convert words to enum members; raises UsageError on an invalid value."""
    for name in options.__struct_fields__:
        value = getattr(options, name)
        kinds = options.__annotations__[name].split(" | ")
        if value is None and "None" in kinds:
            continue
        if kinds[0] in _KINDS and kinds[0] not in (kind.__name__ for kind in type(value).__mro__):
            raise UsageError(f"{name} is {_KINDS[kinds[0]]}", quoted(value))
        if name in BOUNDS and not BOUNDS[name].hold(value):
            raise UsageError(f"{name} is {BOUNDS[name]}", quoted(value))
        if name in _WORDS:
            if not isinstance(value, str) or value not in list(_WORDS[name]):
                raise UsageError(f"{name} is one of {', '.join(_WORDS[name])}", quoted(value))
            force_setattr(options, name, _WORDS[name](value))


_KINDS = {
    "str": "a text",
    "bool": "yes or no",
    "ScanOptions": "facecli.config.ScanOptions",
    "ReadOptions": "facecli.config.ReadOptions",
    "FleetOptions": "facecli.config.FleetOptions",
}
"""What options of these types are, in words."""
_WORDS: dict[str, type[StrEnum]] = {"precision": Precision, "combine": Combine, "by": By}


class DetectionOptions(Struct, frozen=True):
    """Settings of the detector; part of the fingerprint."""

    det_size: int = 640
    """Side of the detector's square input in pixels; the photo is fitted into it."""
    small_scale: int = 128
    """Side in pixels of the input of a second pass, which finds faces that fill the frame; 0 for no second pass."""
    min_score: float = 0.5
    min_face: int = 0
    """Minimum width and height of a face's box in pixels of the photo."""
    rotate: bool = True
    """Whether a photo without a sure face is also searched at 90, 180 and 270 degrees."""
    tiles: bool = False
    """Whether overlapping tiles are also searched, for small faces; panoramas always are, in larger tiles."""


class ReadOptions(Struct, frozen=True):
    """Settings of the decoder."""

    max_pixels: int = 200_000_000
    accept_truncated: bool = False

    def __post_init__(self) -> None:
        _settle(self)


def check_pattern(pattern: str) -> str:
    """The pattern; raises UsageError where it is empty, or too long or of too many lines to be kept."""
    if not pattern.strip() or len(pattern) > LONGEST_PATTERN or any(end in pattern for end in "\n\r\0"):
        raise UsageError(f"a pattern to exclude is one line of at most {LONGEST_PATTERN} characters", quoted(pattern))
    return pattern


class ScanOptions(Struct, frozen=True):
    """Which files of a directory are indexed."""

    recursive: bool = True
    follow_symlinks: bool = False
    exclude: tuple[str, ...] = ()
    """Patterns as in .gitignore; the index keeps them for later runs."""
    forget_excludes: bool = False
    """Whether the patterns of earlier runs are dropped first."""

    def __post_init__(self) -> None:
        if isinstance(self.exclude, str):
            # A single pattern; as a sequence of letters, `*.png` would exclude everything.
            force_setattr(self, "exclude", (self.exclude,))
        if not isinstance(self.exclude, list | tuple) or not all(isinstance(pattern, str) for pattern in self.exclude):
            raise UsageError("exclude is a pattern as in .gitignore, or several", quoted(self.exclude))
        if len(self.exclude) > MOST_PATTERNS:
            raise UsageError(f"more than {MOST_PATTERNS} patterns to exclude", f"{len(self.exclude)}")
        force_setattr(self, "exclude", tuple(map(check_pattern, self.exclude)))
        _settle(self)


class FleetOptions(Struct, frozen=True):
    """The workers of a Ray cluster."""

    address: str = ""
    """local[:N] (a cluster of our own on this machine), auto (the one that this machine belongs to), ray://HOST:PORT;
    empty for no cluster."""
    workers: int = 0
    """0 for as many as the cluster has room for."""
    worker_gpus: float | None = None
    """The GPUs, or the share of one, that Ray reserves for a worker; None for one where a machine has any."""
    worker_cpus: int | None = None
    """The processors that Ray reserves for a worker; None for one, or for an even share of a GPU's machine."""

    def __post_init__(self) -> None:
        _settle(self)
        if self.address:
            read_fleet(self.address)


class IndexOptions(Struct, frozen=True):
    """Options of an index run; None keeps the value that the index was made with."""

    model: str | None = None
    device: str = "auto"
    jobs: int = 0
    """Worker threads; 0 for one per usable core."""
    batch_size: int | None = None
    """Maximum photos per commit and per batch of a device; None for the best of each."""
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
    """None: prune unless a root would lose most of its photos; True: prune such roots too; False: never."""
    retry_skipped: bool = False
    part: str | None = None
    """I/N: only the photos of part I of N; None keeps the part that the index is restricted to."""
    dry_run: bool = False
    wait_seconds: float = 0.0
    max_memory: int | None = None
    """Maximum bytes of files and decoded pixels in memory; None for a quarter of the memory, at most 2 GB."""
    processes: int | None = None
    """Worker processes on this machine; 0 for threads of this one, None for what suits the machine."""
    chunk: int = 0
    """Photos that a worker gets at once; 0 for what it does in about a second."""
    fleet: FleetOptions = field(default_factory=FleetOptions)

    def __post_init__(self) -> None:
        _settle(self)
        if self.part is not None:
            one, of = read_part(self.part)
            force_setattr(self, "part", f"{one}/{of}")

    def filled(self, model: str | None, device: str) -> IndexOptions:
        """The same with a model and a device where it has none of its own."""
        return replace(self, model=self.model or model, device=device if self.device == "auto" else self.device)

    def excluding(self, patterns: str | Sequence[str] | None) -> IndexOptions:
        """The same with further patterns to exclude; with None those of earlier runs are dropped."""
        further = ScanOptions(exclude=() if patterns is None else patterns).exclude  # type: ignore[arg-type]
        forget = self.scan.forget_excludes or patterns is None
        scan = replace(self.scan, exclude=(*self.scan.exclude, *further), forget_excludes=forget)
        return replace(self, scan=scan)


class SearchOptions(Struct, frozen=True):
    """Options of a search."""

    top: int = 10
    """Maximum rows per query; 0 for all."""
    threshold: str = "auto"
    """A number, loose, balanced, strict, auto or none."""
    face: str = "largest"
    """The face of a query photo: largest, all, or its number."""
    combine: Combine = Combine.SEPARATE
    by: By = By.PHOTO
    model: str | None = None
    device: str = "auto"
    reading: ReadOptions = field(default_factory=ReadOptions)
    provenance: bool = False
    """Whether the SHA-256 of each query photo is computed."""
    limits: PhotoLimits = field(default_factory=PhotoLimits)
    """Which photos are searched."""
    bursts: bool = False
    """Whether the photos of a burst with the same person are one match."""
    exact: bool = False
    """Whether all faces are compared exactly; else a first pass, of measured recall, may leave out most of them."""

    def __post_init__(self) -> None:
        for name in ("face", "threshold"):
            value: object = getattr(self, name)
            force_setattr(self, name, value if isinstance(value, str) else quoted(value))
        force_setattr(self, "face", read_face(self.face))
        _settle(self)
