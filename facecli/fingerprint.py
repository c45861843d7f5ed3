"""The fingerprint of an index: the model and all settings that change the embeddings."""

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
"""Values for settings that an index lacks, because it was made by a version before the setting existed.

A new setting gets a line here.
"""
_SETTINGS = {
    **{name: BOUNDS[name] for name in ("det_size", "min_score", "min_face")},
    "small_scale": Bounds(0, 8192, 32),
    "dimension": Bounds(1, 65536),
    "reading": Bounds(1, 10**6),
    "alignment": Bounds(1, 10**6),
}
"""Limits of the settings stored in an index."""
_PACK = ("model", "detector_sha256", "recogniser_sha256", "dimension")
_LONGEST_NAME = 4096
_SHA256 = re.compile("[0-9a-f]{64}")
_CALLED = {"tiles": "thorough", "reading": "version of reading", "alignment": "version of alignment"}
"""Names of settings in messages, if other than their own."""


class Fingerprint(Struct, frozen=True):
    """The model and all settings that change the embeddings; all embeddings of one set have the same fingerprint."""

    model: str
    """The pack's name, or its directory as the user gave it; used in messages, not compared."""
    detector_sha256: str
    recogniser_sha256: str
    dimension: int
    detection: DetectionOptions = field(default_factory=DetectionOptions)
    precision: Precision = Precision.EXACT
    reading: int = READING_VERSION
    alignment: int = ALIGNMENT_VERSION
    metric: str = "cosine"

    def to_record(self) -> dict[str, object]:
        """Convert to a flat record of plain values, for JSON."""
        record = asdict(self)
        record |= asdict(self.detection)
        del record["detection"]
        record["precision"] = str(self.precision)
        return record

    @classmethod
    def from_record(cls, record: dict[str, object]) -> Fingerprint:
        """Read a record of `to_record`, of this version or an earlier one.

        Raises KeyError, TypeError or ValueError on anything else.
        """
        found: dict[str, Any] = BEFORE | record
        _ask_sane(found)
        detection = DetectionOptions(**{n: found[n] for n in DetectionOptions.__struct_fields__})
        rest = {n: found[n] for n in cls.__struct_fields__ if n not in ("detection", "precision")}
        return cls(**rest, detection=detection, precision=Precision(found["precision"]))

    @staticmethod
    def unknown(record: dict[str, object]) -> list[str]:
        """List the settings of a record that this version does not know."""
        return sorted(record.keys() - BEFORE.keys() - set(_PACK))

    def differences(self, other: Fingerprint) -> list[tuple[str, object, object]]:
        """List the settings that differ: name, value here, value there; a pack is one entry, compared by hashes."""
        mine, theirs = self.to_record(), other.to_record()
        pack = ("detector_sha256", "recogniser_sha256")
        found: list[tuple[str, object, object]] = []
        if any(mine[n] != theirs[n] for n in pack):
            found.append(("model", self.model, other.model))
        found += [(n, mine[n], theirs[n]) for n in mine if n not in ("model", *pack) and mine[n] != theirs[n]]
        return found

    def as_made_here(self) -> Fingerprint:
        """The same pack and settings with this version's reading, alignment and metric."""
        return Fingerprint(
            self.model, self.detector_sha256, self.recogniser_sha256, self.dimension, self.detection, self.precision
        )

    def ask_same(self, wanted: Fingerprint, index: object, hint: str) -> None:
        """Raise IndexMismatch if this fingerprint differs from the wanted one; the message lists both values."""
        said = self.describe_differences(wanted, ", not ")
        if said:
            raise IndexMismatch(f"the index was made with {said}", index, hint=hint)

    def describe_differences(self, other: Fingerprint, between: str) -> str:
        """List the settings that differ, by the names of their options: name, value here, `between`, value there."""
        return ", ".join(
            f"{_CALLED.get(name, name.replace('_', '-'))} {_shown(mine)}{between}{_shown(theirs)}"
            for name, mine, theirs in self.differences(other)
        )


def _shown(value: object) -> str:
    """Format a setting's value for a message; a directory also by its base name."""
    text = ("no", "yes")[value] if isinstance(value, bool) else str(value)
    return f"{os.path.basename(text)} ({text})" if os.sep in text else text


def _ask_sane(record: dict[str, Any]) -> None:
    """Raise ValueError or TypeError if a setting of an index has a value that facecli does not write."""
    for name, value in record.items():
        if name in _SETTINGS and not _SETTINGS[name].hold(value):
            raise ValueError(name)
        if isinstance(value, bool) != isinstance(BEFORE.get(name), bool):
            raise TypeError(name)
    os.fsencode(record["model"])
    if len(record["model"]) > _LONGEST_NAME or len(str(record["metric"])) > _LONGEST_NAME:
        raise ValueError("a name is too long")
    if not (_SHA256.fullmatch(record["detector_sha256"]) and _SHA256.fullmatch(record["recogniser_sha256"])):
        raise ValueError("not a SHA-256")
