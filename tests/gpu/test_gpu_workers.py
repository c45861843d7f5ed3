"""Several worker processes share one GPU: the same faces, and each plans its batches for its share of the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from stand_in import stands_in

from facecli.fleet.processes import ProcessEngine
from facecli.pipeline.messages import Spec
from facecli.vision.runtime.providers import Device

pytestmark = pytest.mark.gpu


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[Spec]:
    """What the workers are told to be, as they begin."""
    begin, specs = ProcessEngine.begin, list[Spec]()

    def counting(self: ProcessEngine) -> int:
        specs.append(self._specs[len(specs) % len(self._specs)])
        return begin(self)

    monkeypatch.setattr(ProcessEngine, "begin", counting)
    return specs


@pytest.mark.parametrize("workers", [2] if stands_in() else [2, 4])
def test_workers_that_share_a_gpu_find_what_the_processor_finds(
    workers: int, gpus: tuple[Device, ...], on_gallery: Callable[..., Any], expected: Any, begun: list[Spec]
) -> None:
    found = on_gallery(gpus[:1], processes=workers, chunk=4)
    assert found.cosines(expected).min() >= 0.999
    assert [(spec.device, spec.sharing) for spec in begun] == [(gpus[0].name, workers)] * workers
    assert found.report.provider == gpus[0].provider
    assert found.of_devices() == []
