"""The models that queries need: those of the index, or those that were named."""

from __future__ import annotations

from dataclasses import replace

from facecli.config import DetectionOptions, Precision
from facecli.errors import IndexMismatch
from facecli.store.records import IndexInfo
from facecli.types import Reporter
from facecli.vision.device import find_devices
from facecli.vision.models import FaceModels, open_models
from facecli.vision.packs import ModelPack, find_pack, find_recorded_pack


def choose_pack(named: str | None, info: IndexInfo | None) -> ModelPack:
    """The pack of the queries: the named one, else that of the index, else the default; raises IndexMismatch where they differ."""
    if info is None:
        return find_pack(named)
    recorded = info.fingerprint
    if named is None:
        return find_recorded_pack(recorded.model, info.model_directory or "", recorded.detector_sha256, recorded.recogniser_sha256)
    pack = find_pack(named)
    if (pack.detector.sha256, pack.recogniser.sha256) != (recorded.detector_sha256, recorded.recogniser_sha256):
        raise IndexMismatch(
            f"the index was made with model {recorded.model}, not {pack.name}", info.directory, hint="leave -m away, or name another -i"
        )
    return pack


def open_query_models(pack: ModelPack, device: str, info: IndexInfo | None, report: Reporter) -> FaceModels:
    """Models that look at a query as the index looked at its photos, but at faces of any size."""
    detection, precision = DetectionOptions(), Precision.EXACT
    if info is not None:
        detection, precision = replace(info.fingerprint.detection, min_face=0), info.fingerprint.precision
    models = open_models(pack, find_devices(device)[0], detection, precision, report)
    report.detail(f"{pack.name} on {models.device.name} ({models.provider})")
    return models
