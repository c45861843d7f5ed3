"""The models for queries: those of the index or those requested, on as many devices as the photos are worth."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from facecli.config import DetectionOptions, Precision
from facecli.reporting import Reporter
from facecli.store.records import IndexInfo
from facecli.vision.devices.select import find_devices
from facecli.vision.models import FaceModels, Needs, Serving, is_batched, open_served
from facecli.vision.packs.resolve import ModelPack, find_pack, find_pack_for, find_recorded_pack

MANY_PHOTOS = 16
"""The number of photos from which on all devices are opened; with fewer, the first device would be done while a second
one starts."""

OTHER_PACK = "leave out -m, or use another index with -i"


class ModelSource(Struct, frozen=True):
    """Opens the models for queries with the settings of the index, except that faces of any size are detected."""

    pack: ModelPack
    device: str
    """The requested devices: auto, cpu, cuda:0,1."""
    info: IndexInfo | None
    """The index, if there is one."""
    report: Reporter
    kept: KeptModels | None = None
    """The models kept open for later queries, if they are kept."""

    def open(self, photos: int) -> QueryModels:
        """Open the models for a number of photos. Raises DeviceError and PackError."""
        return self._open(photos) if self.kept is None else self.kept.of(self, photos)

    def _open(self, photos: int) -> QueryModels:
        detection, precision = DetectionOptions(), Precision.EXACT
        if self.info is not None:
            fingerprint = self.info.fingerprint
            detection, precision = replace(fingerprint.detection, min_face=0), fingerprint.precision
        devices = find_devices(self.device)
        # Several CPUs by name are one processor, whose threads all use the same networks.
        wanted = devices if photos >= MANY_PHOTOS and is_batched(devices[0]) else devices[:1]
        needs = Needs(detection, precision)
        # The first device leaves in the cache what the others use.
        opened = QueryModels(tuple(open_served(self.pack, device, needs, Serving(), self.report) for device in wanted))
        names = ", ".join(device.name for device in wanted)
        self.report.detail(f"{self.pack.name} on {names} ({opened.models.provider})")
        return opened


class QueryModels(Struct, frozen=True, eq=False):
    """Open models for queries."""

    every: tuple[FaceModels, ...]
    """The models on each device."""

    @property
    def models(self) -> FaceModels:
        """Those on the first device."""
        return self.every[0]


class KeptModels:
    """Models that stay open between queries, for programs with many queries."""

    def __init__(self) -> None:
        self._opened: QueryModels | None = None
        self._key: tuple[object, ...] = ()

    def of(self, source: ModelSource, photos: int) -> QueryModels:
        """The models of a source: the open ones if they fit, else new ones."""
        fingerprint = source.info.fingerprint if source.info is not None else None
        key = (source.pack, source.device, fingerprint, photos >= MANY_PHOTOS)
        if self._opened is None or key != self._key:
            self._opened = None  # free the old ones before opening the new
            self._opened, self._key = replace(source, kept=None).open(photos), key
        return self._opened

    def close(self) -> None:
        """Close the models."""
        self._opened = None


def choose_pack(named: str | None, info: IndexInfo | None) -> ModelPack:
    """The pack for queries: the requested one, else the index's, else the default.

    Raises IndexMismatch if the requested one is not the index's.
    """
    if info is None:
        return find_pack(named)
    recorded = info.fingerprint
    if named is None:
        return find_recorded_pack(
            recorded.model, info.model_directory or "", recorded.detector_sha256, recorded.recogniser_sha256
        )
    pack = find_pack_for(named, recorded, info.directory, OTHER_PACK)
    chosen = replace(
        recorded, model=pack.name, detector_sha256=pack.detector.sha256, recogniser_sha256=pack.recogniser.sha256
    )
    recorded.ask_same(chosen, info.directory, OTHER_PACK)
    return pack
