"""Run the recogniser with OpenVINO on the CPU: if requested, or if it is faster on this processor.

OpenVINO starts slowly, so a run begins with ONNX Runtime and switches over once it proves to be long. The first time
both are timed, and the answer is cached.
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
from facecli.onnx_loading import load_onnxruntime
from facecli.system import count_processors
from facecli.types import FloatArray
from facecli.vision.optimization import equivalence
from facecli.vision.optimization.rewrite_cache import Entry
from facecli.vision.optimization.variants import RewriteTarget, keep, maker, recall_entry
from facecli.vision.runtime.openvino import Form, OpenVinoSession
from facecli.vision.runtime.processor import processor_identity
from facecli.vision.runtime.session import Session

RECORD = "openvino"
ROLE = "recogniser-openvino"
VERSION = 2
"""Increase when the trial measures something else."""
LONG_RUN = 32
"""Crops after which a run counts as long; starting OpenVINO costs about as much as it saves on twice as many."""
LEAST_GAIN = 0.9
"""OpenVINO must take less than this share of ONNX Runtime's time."""
ROUNDS = 8
HINTS = {Precision.EXACT: "f32", Precision.FAST: "bf16"}


class ChangingSession:
    """Switches from one session to another after a number of rows; thread-safe."""

    def __init__(self, first: Session, open_other: Callable[[], Session | None], rows: int) -> None:
        self._session, self._open_other, self._left = first, open_other, rows
        self.provider, self.input, self.outputs = first.provider, first.input, first.outputs
        self._lock = threading.Lock()

    @property
    def most(self) -> int | None:
        """Largest batch of the current session, if it has a preference."""
        wish: int | None = getattr(self._session, "most", None)
        return wish

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network on `feed`, a batch, as the current session does.

        The thread whose rows use up the limit opens the other session; the other threads continue meanwhile.
        """
        with self._lock:
            before, self._left = self._left, self._left - len(feed)
        if before > 0 >= self._left:
            other = self._open_other()
            if other is not None:
                self._session, self.provider = other, other.provider
        return self._session.run(feed)


def with_openvino(session: Session, shop: RewriteTarget, precision: Precision) -> Session:
    """A session that switches to OpenVINO in a long run, if installed and not known to be slower here."""
    if importlib.util.find_spec("openvino") is None:
        if precision is Precision.FAST:
            shop.report.detail("without the package openvino fast precision is the same as exact")
        return session

    def open_other() -> Session | None:
        try:
            # Only now, because the key takes time, and a single search opens the models as well.
            key = _key(shop, precision)
            kept = recall_answer(RECORD, key)
            if kept is False:
                return None
            other = _open(session, shop, precision)
            better = _is_better(session, other, shop, precision) if kept is None else bool(kept)
        except Exception as error:  # noqa: BLE001 (whatever fails in OpenVINO, ONNX Runtime can do the work)
            shop.report.detail(f"OpenVINO cannot be used: {_said(error)}")
            return None
        if kept is None:
            keep_answer(RECORD, key, better)
        chosen = f"OpenVINO, in {HINTS[precision]}" if better else "ONNX Runtime, which is as fast here as OpenVINO"
        shop.report.detail(f"embedding by {chosen}")
        return other if better else None

    return ChangingSession(session, open_other, LONG_RUN)


def open_by_openvino(session: Session, shop: RewriteTarget, precision: Precision) -> Session:
    """Open the network with OpenVINO from the first crop on, as requested.

    Raises DeviceError if OpenVINO is not available or gives different embeddings.
    """
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
    """The rewritten network, from the cache if possible; the original if the pattern is missing."""
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
    """Cache key: everything that the answer depends on."""
    openvino = importlib.import_module("importlib.metadata").version("openvino")
    versions = f"{openvino} {load_onnxruntime().__version__} {VERSION}"
    return f"{shop.file.sha256[:32]} {precision} {processor_identity()} {count_processors()} {versions}"


def _is_same(session: Session, other: Session, crops: FloatArray, precision: Precision) -> bool:
    """Whether the embeddings of the faces among the test crops are as close as the precision promises."""
    faces = crops[: len(equivalence.LANDMARKS)]
    return equivalence.is_kept(equivalence.cosines(session.run(faces)[0], other.run(faces)[0]), precision)


def _is_better(session: Session, other: Session, shop: RewriteTarget, precision: Precision) -> bool:
    """Whether the other session gives the same embeddings and is clearly faster."""
    crops = equivalence.proving_crops(shop.normalisation)
    if not _is_same(session, other, crops, precision):
        return False
    before, after = (min(own) for own in equivalence.timings((session, other), crops, ROUNDS))
    return after < LEAST_GAIN * before
