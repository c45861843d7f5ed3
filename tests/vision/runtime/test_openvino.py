"""A run switches to OpenVINO if that is faster here, and stays with ONNX Runtime if not."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from notes import Notes
from numpy.typing import NDArray

from facecli.cache import read_record
from facecli.config import DetectionOptions, Precision
from facecli.errors import DeviceError
from facecli.reporting import SilentReporter
from facecli.vision.devices.select import Device
from facecli.vision.models import Needs, Serving, open_served
from facecli.vision.optimization import equivalence, openvino_choice
from facecli.vision.optimization.equivalence import cosines, is_kept
from facecli.vision.optimization.openvino_choice import ChangingSession, _form, open_by_openvino, with_openvino
from facecli.vision.optimization.optimized import open_recogniser
from facecli.vision.optimization.variants import RewriteTarget
from facecli.vision.packs.resolve import find_pack
from facecli.vision.recognition.alignment import align_faces
from facecli.vision.runtime.openvino import Form, OpenVinoSession
from facecli.vision.runtime.providers import CPU
from facecli.vision.runtime.session import Session, Tensor

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the package openvino is not installed"
)


class Counting:
    """A session that counts its rows."""

    input, outputs = Tensor("x", (None, 2)), (Tensor("y", (None, 2)),)

    def __init__(self, provider: str) -> None:
        self.provider, self.rows = provider, 0
        self._lock = threading.Lock()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        with self._lock:
            self.rows += len(feed)
        return [feed]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def session(cpu: Device) -> Session:
    return open_recogniser(find_pack(None).recogniser, cpu, SilentReporter())


@pytest.fixture
def shop(cpu: Device) -> RewriteTarget:
    return RewriteTarget(find_pack(None).recogniser, cpu, SilentReporter())


def faces_of_samples() -> NDArray[np.float32]:
    """A recogniser's input: the faces of a photo of the default pack, at two sizes and mirrored."""
    pixels = equivalence._photo()
    assert pixels is not None
    models = open_served(find_pack(None), Device("cpu", CPU), Needs(DetectionOptions()), Serving())
    smaller = cv2.resize(pixels, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    photos = (pixels, smaller, np.ascontiguousarray(pixels[:, ::-1]))
    crops = [align_faces(photo, models.detector.detect([photo])[0].landmarks) for photo in photos]
    blob = np.concatenate(crops).transpose(0, 3, 1, 2)
    return np.ascontiguousarray((blob.astype(np.float32) - np.float32(127.5)) / np.float32(127.5))


def test_the_other_session_is_opened_once_and_takes_over() -> None:
    first, other, opened = Counting("first"), Counting("other"), []
    changing = ChangingSession(first, lambda: opened.append(1) or other, 10)
    threads = [threading.Thread(target=lambda: [changing.run(np.zeros((2, 2))) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == [1]
    assert first.rows + other.rows == 160
    assert other.rows > 0
    assert changing.provider == "other"


def test_a_session_that_cannot_be_had_changes_nothing() -> None:
    first = Counting("first")
    changing = ChangingSession(first, lambda: None, 3)
    for _ in range(5):
        changing.run(np.zeros((2, 2)))
    assert first.rows == 10


@needs_openvino
def test_openvino_gives_the_same_embeddings(session: Session, shop: RewriteTarget) -> None:
    crops = np.random.default_rng(0).normal(0, 0.5, (3, 3, 112, 112)).astype(np.float32)
    for form in (Form(find_pack(None).recogniser.path), _form(shop)):
        other = OpenVinoSession(form, session, "f32")
        one, two = session.run(crops)[0], other.run(crops)[0]
        assert one.shape == two.shape
        assert cosines(one, two).min() > 0.9999
    assert form.takes_batches
    assert _form(shop) == form, "made once"


@needs_openvino
def test_openvino_calls_nobody_and_writes_nothing_home(tmp_path: Path) -> None:
    """By default, OpenVINO looks up a telemetry host on import and writes an identifier to the home directory."""
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
import sys
from facecli.vision.runtime.libraries import load_openvino
calls = []
sys.addaudithook(lambda event, _: calls.append(event) if event.startswith("socket.") else None)
module = load_openvino()
assert load_openvino() is module
assert module.Core().available_devices
from facecli.vision.runtime.openvino import Form, OpenVinoSession
from facecli.vision.runtime.session import open_session
from facecli.vision.runtime.providers import CPU, Device
path = {find_pack(None).recogniser.path!r}
OpenVinoSession(Form(path), open_session(path, Device("cpu", CPU)), "f32")
print(calls, [name for name in sys.modules if "telemetry" in name])
"""
    said = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"HOME": str(home)}, capture_output=True, text=True, check=True
    )
    assert said.stdout == "[] []\n"
    assert list(home.rglob("*")) == []


@needs_openvino
def test_short_numbers_keep_the_promise_of_fast_precision(session: Session, shop: RewriteTarget) -> None:
    """Checked on every face of the tests, not only on those of the trial."""
    crops = faces_of_samples()
    found = cosines(session.run(crops)[0], OpenVinoSession(_form(shop), session, "bf16").run(crops)[0])
    assert len(found) > 30
    assert is_kept(found, Precision.FAST)


@needs_openvino
@pytest.mark.parametrize("precision", list(Precision))
def test_openvino_that_was_asked_for_runs_from_the_first_crop_on(
    session: Session, shop: RewriteTarget, precision: Precision
) -> None:
    other = open_by_openvino(session, shop, precision)
    assert other.provider == "OpenVINO"
    crops = faces_of_samples()[:4]
    assert is_kept(cosines(session.run(crops)[0], other.run(crops)[0]), precision)


@needs_openvino
def test_openvino_that_was_asked_for_and_is_wrong_is_an_error(
    session: Session, shop: RewriteTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_choice.equivalence, "is_kept", lambda *_: False)
    with pytest.raises(
        DeviceError, match="device openvino cannot be used: it does not give the embeddings of exact precision here"
    ):
        open_by_openvino(session, shop, Precision.EXACT)


@needs_openvino
@pytest.mark.parametrize("better", [True, False])
def test_the_answer_of_the_trial_is_kept(
    session: Session, shop: RewriteTarget, monkeypatch: pytest.MonkeyPatch, *, better: bool
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(openvino_choice, "_is_better", lambda *_: bool(asked.append(1)) or better)
    crops = np.zeros((20, 3, 112, 112), np.float32)
    for _ in range(2):
        changing = with_openvino(session, shop, Precision.EXACT)
        for _ in range(2):
            changing.run(crops)
        assert changing.provider == ("OpenVINO" if better else "CPUExecutionProvider")
    assert asked == [1]
    assert [entry["answer"] for entry in read_record("openvino").values()] == [better]


@needs_openvino
def test_what_is_not_the_same_is_not_better(session: Session, shop: RewriteTarget) -> None:
    class Wrong:
        provider, input, outputs = "wrong", session.input, session.outputs

        def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
            return [session.run(feed)[0] + np.linspace(0, 5, 512, dtype=np.float32)]

    assert not openvino_choice._is_better(session, Wrong(), shop, Precision.FAST)


@needs_openvino
def test_a_failure_of_openvino_is_said_and_costs_nothing(
    session: Session, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such\nthing")

    monkeypatch.setattr(openvino_choice, "OpenVinoSession", fail)
    told = Notes()
    changing = with_openvino(session, RewriteTarget(find_pack(None).recogniser, cpu, told), Precision.EXACT)
    assert changing.run(np.zeros((70, 3, 112, 112), np.float32))[0].shape == (70, 512)
    assert told.details == ["OpenVINO cannot be used: no such thing"]


def test_without_openvino_nothing_changes(session: Session, cpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        openvino_choice.importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name)
    )
    told = Notes()
    assert with_openvino(session, RewriteTarget(find_pack(None).recogniser, cpu, told), Precision.FAST) is session
    assert len(told.details) == 1
