"""Calibrations of recognisers: those of facecli, and those measured here and kept in the user's cache."""

from __future__ import annotations

import json
from pathlib import Path

from facecli.directories import cache_directory
from facecli.errors import OutputError
from facecli.thresholds import MEASURED, Calibration
from facecli.whole_files import make_folders, write_whole


def find_calibration(recogniser_sha256: str) -> Calibration | None:
    """The calibration of a recogniser: facecli's own or the one measured here, whichever is larger; None if neither."""
    known = [c for c in (MEASURED.get(recogniser_sha256), read_kept(recogniser_sha256)) if c is not None]
    return max(known, key=lambda c: c.pairs, default=None)


def kept_place(recogniser_sha256: str) -> Path:
    """The file for the measurement of a recogniser."""
    return cache_directory() / "calibrations" / f"{recogniser_sha256}.json"


def read_kept(recogniser_sha256: str) -> Calibration | None:
    """The measurement made on this machine; None if there is none that can be read."""
    try:
        record = json.loads(kept_place(recogniser_sha256).read_text("utf-8"))
        return Calibration.from_record(record)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep_calibration(recogniser_sha256: str, calibration: Calibration) -> Path:
    """Save a measurement for later searches and return its file; raises OutputError."""
    place = kept_place(recogniser_sha256)
    try:
        make_folders(str(place.parent))
        write_whole(str(place), [json.dumps(calibration.to_record(), indent=1).encode(), b"\n"])
    except OSError as error:
        raise OutputError(f"the measurement cannot be saved ({error.strerror})", place) from error
    return place
