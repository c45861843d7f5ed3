"""The models for queries: those of the index or those requested, on as many devices as the photos are worth."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from facecli.config import DetectionOptions, Precision
from facecli.reporting import Reporter
from facecli.store.records import IndexInfo
from facecli.vision.devices.select import Device, find_devices
from facecli.vision.models import FaceModels, open_models
from facecli.vision.packs.resolve import ModelPack, find_pack, find_recorded_pack

MANY_PHOTOS = 16
"""The number of photos from which on all devices are opened and work in batches; with fewer, the first device would be
done while a second one starts."""
BATCH_SIZE = 64
"""Photos in the largest batch; the default of an index run."""


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
        """Open the models for a number of photos; the caller closes them. Raises DeviceError and PackError."""
        return self._open(photos) if self.kept is None else self.kept.of(self, photos)

    def _open(self, photos: int) -> QueryModels:
        detection, precision = DetectionOptions(), Precision.EXACT
        if self.info is not None:
            fingerprint = self.info.fingerprint
            detection, precision = replace(fingerprint.detection, min_face=0), fingerprint.precision
        devices = find_devices(self.device)
        if photos >= MANY_PHOTOS:
            opened = self._open_on_all(devices, detection, precision)
        else:
            opened = QueryModels(open_models(self.pack, devices[0], detection, precision, self.report), 0)
        self.report.detail(f"{self.pack.name} on {opened.models.device.name} ({opened.models.provider})")
        return opened

    def _open_on_all(
        self, devices: tuple[Device, ...], detection: DetectionOptions, precision: Precision
    ) -> QueryModels:
        # Imported here: a single query does not need it.
        from facecli.vision.serving.pooled import Pooling, devices_apart, open_models_on  # noqa: PLC0415

        models = open_models_on(self.pack, devices, detection, precision, Pooling(self.report, BATCH_SIZE))
        return QueryModels(models, devices_apart(devices))


class QueryModels(Struct, frozen=True, eq=False):
    """Open models for queries."""

    models: FaceModels
    devices: int
    """The number of devices that work apart from the threads, on batches collected from them; 0 if the threads run
    the networks themselves."""
    stay: bool = False
    """Whether they stay open for later queries; `close` then does nothing."""

    def close(self) -> None:
        """Close the models, unless they stay open."""
        if not self.stay:
            self.models.close()


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
            self.close()
            self._opened, self._key = replace(source, kept=None).open(photos), key
        return replace(self._opened, stay=True)

    def close(self) -> None:
        """Close the models."""
        if self._opened is not None:
            self._opened.close()
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
    pack = find_pack(named)
    chosen = replace(
        recorded, model=pack.name, detector_sha256=pack.detector.sha256, recogniser_sha256=pack.recogniser.sha256
    )
    recorded.ask_same(chosen, info.directory, "leave out -m, or use another index with -i")
    return pack
