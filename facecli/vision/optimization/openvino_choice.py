"""The recogniser by OpenVINO on the processor: where it was asked for, or where that is faster on this very one.

OpenVINO takes its time to start, so a run begins with ONNX Runtime's session and changes over once it has shown that it
is a long one. On the first such change both are timed, and the answer is kept.
"""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from facecli.cache import keep_answer, recall_answer
from facecli.config import Precision
from facecli.errors import DeviceError
from facecli.system import count_processors
from facecli.types import FloatArray
from facecli.vision.optimization import equivalence
from facecli.vision.optimization.rewrite_cache import Entry
from facecli.vision.optimization.variants import RewriteTarget, keep, maker, recall_entry
from facecli.vision.runtime.libraries import load_onnxruntime
from facecli.vision.runtime.openvino import Form, OpenVinoSession
from facecli.vision.runtime.processor import processor_identity
from facecli.vision.runtime.session import Session

RECORD = "openvino"
ROLE = "recogniser-openvino"
VERSION = 2
"""Raised when the trial measures otherwise."""
LONG_RUN = 32
"""Crops after which a run counts as a long one; starting OpenVINO costs about as much as it saves on twice as many."""
LEAST_GAIN = 0.9
"""It must take less than this share of the other's time."""
ROUNDS = 8
HINTS = {Precision.EXACT: "f32", Precision.FAST: "bf16"}


class ChangingSession:
    """One session at first, and another from the time when so many rows have passed; thread-safe."""

    def __init__(self, first: Session, open_other: Callable[[], Session | None], rows: int) -> None:
        self._session, self._open_other, self._left = first, open_other, rows
        self.provider, self.input, self.outputs = first.provider, first.input, first.outputs
        self._lock = threading.Lock()

    @property
    def most(self) -> int | None:
        """The most rows of one run, where the session at hand has a wish of its own."""
        wish: int | None = getattr(self._session, "most", None)
        return wish

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network; the thread whose rows are the last of the first session opens the other, and the rest go on meanwhile."""
        with self._lock:
            before, self._left = self._left, self._left - len(feed)
        if before > 0 >= self._left:
            other = self._open_other()
            if other is not None:
                self._session, self.provider = other, other.provider
        return self._session.run(feed)


def with_openvino(session: Session, shop: RewriteTarget, precision: Precision) -> Session:
    """The session, to be changed for OpenVINO's in a long run where that is installed and has not proved slower here."""
    if importlib.util.find_spec("openvino") is None:
        if precision is Precision.FAST:
            shop.report.detail("without the package openvino fast precision is the same as exact")
        return session

    def open_other() -> Session | None:
        try:
            # Asked here and not before, since a single search, which opens the models as well, must not pay for the
            # answer.
            key = _key(shop, precision)
            kept = recall_answer(RECORD, key)
            if kept is False:
                return None
            other = _open(session, shop, precision)
            better = _is_better(session, other, shop, precision) if kept is None else bool(kept)
        except Exception as error:  # noqa: BLE001 (whatever OpenVINO meets, the session at hand does the work)
            shop.report.detail(f"OpenVINO cannot be used: {_said(error)}")
            return None
        if kept is None:
            keep_answer(RECORD, key, better)
        shop.report.detail(
            f"embedding by {'OpenVINO, in ' + HINTS[precision] if better else 'ONNX Runtime, which is as fast here as OpenVINO'}"
        )
        return other if better else None

    return ChangingSession(session, open_other, LONG_RUN)


def open_by_openvino(session: Session, shop: RewriteTarget, precision: Precision) -> Session:
    """The network of `session` by OpenVINO from the first crop on, as it was asked for; DeviceError where that cannot be had or is not the same."""
    try:
        other = _open(session, shop, precision)
        same = _is_same(session, other, equivalence.proving_crops(shop.normalisation), precision)
    except Exception as error:  # OpenVINO's exceptions have no common base but Exception
        raise DeviceError(
            "device openvino cannot be used", _said(error), hint="pip install --upgrade openvino"
        ) from error
    if not same:
        raise DeviceError(
            "device openvino cannot be used",
            f"it does not give the embeddings of {precision} precision here",
            hint="-d cpu",
        )
    shop.report.detail(f"embedding by OpenVINO, in {HINTS[precision]}; detecting by ONNX Runtime")
    return other


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _open(session: Session, shop: RewriteTarget, precision: Precision) -> OpenVinoSession:
    return OpenVinoSession(_form(shop), session, HINTS[precision])


def _form(shop: RewriteTarget) -> Form:
    """The rewritten network, kept for the next time; the original where the pattern is not there."""
    entry = recall_entry(shop, ROLE)
    if entry is None:
        factor = shop.file.scale
        rewrite = maker(
            shop, "pairs split for OpenVINO", lambda surgery, graph: surgery.rewrite_for_openvino(graph, factor)
        )()
        entry = (
            Entry({"rewrite": ""})
            if rewrite is None
            else Entry({"rewrite": rewrite.name, "factor": factor}, rewrite.model)
        )
        keep(shop, ROLE, entry)
        entry = recall_entry(shop, ROLE) or entry
    return Form(entry.model, entry.facts["factor"], takes_batches=True) if entry.model else Form(shop.file.path)


def _key(shop: RewriteTarget, precision: Precision) -> str:
    """What the answer depends on."""
    versions = f"{importlib.import_module('importlib.metadata').version('openvino')} {load_onnxruntime().__version__} {VERSION}"
    return f"{shop.file.sha256[:32]} {precision} {processor_identity()} {count_processors()} {versions}"


def _is_same(session: Session, other: Session, crops: FloatArray, precision: Precision) -> bool:
    """Whether the real faces among the proving crops get the embeddings that the precision promises."""
    faces = crops[: len(equivalence.LANDMARKS)]
    return equivalence.is_kept(equivalence.cosines(session.run(faces)[0], other.run(faces)[0]), precision)


def _is_better(session: Session, other: Session, shop: RewriteTarget, precision: Precision) -> bool:
    """Whether the other session gives the same, and takes clearly less time."""
    crops = equivalence.proving_crops(shop.normalisation)
    if not _is_same(session, other, crops, precision):
        return False
    before, after = (min(own) for own in equivalence.timings((session, other), crops, ROUNDS))
    return after < LEAST_GAIN * before
