"""The provenance of an answer: the data needed to document or repeat a search."""

from __future__ import annotations

import os
from collections.abc import Sequence

from facecli import __version__
from facecli.searching.reading import QueryPhoto
from facecli.store.records import IndexInfo
from facecli.thresholds import Threshold
from facecli.types import JsonValue


def provenance_record(
    threshold: Threshold, photos: Sequence[QueryPhoto], info: IndexInfo, time: str
) -> dict[str, JsonValue]:
    """The time, version, model, threshold with its measured rate, state of the index, and digests of the photos."""
    made_with = info.fingerprint
    calibration = threshold.calibration
    return {
        "time": time,
        "facecli": __version__,
        "model": made_with.model,
        "detector_sha256": made_with.detector_sha256,
        "recogniser_sha256": made_with.recogniser_sha256,
        "precision": str(made_with.precision),
        "threshold": threshold.minimum,
        "threshold_name": threshold.name,
        "false_match_rate": threshold.rate,
        "measured_on": f"{calibration.data} ({calibration.people} people, {calibration.pairs:,} pairs)"
        if calibration is not None
        else None,
        "index": os.fsencode(info.directory).decode(errors="replace"),
        "generation": info.generation,
        "photos": info.photos,
        "faces": info.faces,
        "queries": [
            {
                "query": os.fsencode(photo.query).decode(errors="replace"),
                "sha256": photo.sha256,
                "xxh3_128": photo.digest.hex(),
                "faces": len(photo.faces),
            }
            for photo in photos
        ],
    }
