"""The models on several devices, for threads that each bring a group of photos."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from msgspec import Struct

from facecli.errors import DeviceError
from facecli.pipeline.stages import embed_photos
from facecli.reporting import Reporter
from facecli.types import IndexedPhoto, Photo
from facecli.vision.models import FaceModels


class _OnDevice(Struct, eq=False):
    models: FaceModels
    groups: int = 0
    """Groups that wait for it now."""


class GroupedModels:
    """Gives each group to the device that has the fewest, so that a slow one gets less; one that fails is left out."""

    def __init__(self, every: Sequence[FaceModels], report: Reporter) -> None:
        self._left = [_OnDevice(models) for models in every]
        self._report, self._lock = report, threading.Lock()

    def embed(self, photos: Sequence[Photo]) -> list[IndexedPhoto]:
        """The faces of a group of photos; raises DeviceError if the last device fails."""
        while True:
            with self._lock:
                chosen = min(self._left, key=lambda each: each.groups)
                chosen.groups += 1
            try:
                return embed_photos(chosen.models, photos)
            except DeviceError as error:
                self._leave_out(chosen, error)
            finally:
                with self._lock:
                    chosen.groups -= 1

    def _leave_out(self, failed: _OnDevice, error: DeviceError) -> None:
        """Go on without a device, with one line; raises DeviceError if it is the last one."""
        name, why = failed.models.device.name, error.hint or error.what
        with self._lock:
            if failed not in self._left:
                return
            if len(self._left) > 1:
                self._left.remove(failed)
                self._report.warn(f"{name} failed and is left out; its photos are done by the others: {why}")
                return
        if not failed.models.batched:
            raise error
        hint = "--device names another, `facecli doctor` tests every one"
        raise DeviceError(f"the device failed ({why})", name, hint=hint) from error
