"""The provenance of an answer: the data needed to document or repeat a search."""

from __future__ import annotations

import os

from facecli import __version__
from facecli.searching.search import SearchAnswer
from facecli.store.records import IndexInfo
from facecli.types import JsonValue


def provenance_record(answer: SearchAnswer, info: IndexInfo, time: str) -> dict[str, JsonValue]:
    """The time, version, model, threshold with its measured rate, state of the index, and digests of the photos."""
    threshold, made_with = answer.threshold, info.fingerprint
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
        "first_pass": "measured recall" if answer.used_first_pass else "none",
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
            for photo in answer.photos
        ],
    }
