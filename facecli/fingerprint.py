"""The fingerprint of an index: everything that decides which embedding a photo gets."""

from __future__ import annotations

import os
import re
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict

from facecli.config import ALIGNMENT_VERSION, BOUNDS, READING_VERSION, Bounds, DetectionOptions, Precision
from facecli.errors import IndexMismatch

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
"""What versions did that did not have such a setting yet: an index that lacks it was made by one of them. A new
setting gets its line here."""
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
        return Fingerprint(
            self.model, self.detector_sha256, self.recogniser_sha256, self.dimension, self.detection, self.precision
        )

    def ask_same(self, wanted: Fingerprint, index: object, hint: str) -> None:
        """Raise IndexMismatch where an index of this fingerprint is not what is wanted; the message has each setting with both values."""
        differences = self.differences(wanted)
        said = [
            f"{_CALLED.get(name, name.replace('_', '-'))} {_shown(mine)}, not {_shown(theirs)}"
            for name, mine, theirs in differences
        ]
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
