"""Half precision for the recogniser on an accelerator: used if embeddings stay the same and it is faster.

Both are measured once for a model, a device and a version of ONNX Runtime, and cached. The embeddings are compared with
single precision on the same device and with the original on the CPU.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import xxhash
from msgspec import Struct
from numpy.typing import NDArray

from facecli.config import Precision
from facecli.errors import DeviceFull, FacecliError
from facecli.vision.detection.network import HeadWeights
from facecli.vision.devices.select import Device
from facecli.vision.optimization import equivalence
from facecli.vision.optimization.rewrite_cache import HALF, Entry
from facecli.vision.optimization.variants import RewriteTarget, keep, maker, open_rewrite, recall
from facecli.vision.runtime.cuda import GPU_KINDS, read_gpu
from facecli.vision.runtime.providers import CPU, plugged_devices
from facecli.vision.runtime.session import OnnxSession, Session, open_session

NAME = "half precision"
ROWS = (32, 8, 1)
"""Batch sizes of the trial; the next one is used if the device is out of memory."""
ROUNDS = 7
LEAST_GAIN = 0.9
"""It must take at most this share of single precision's time."""


class HalfSession(OnnxSession):
    """An ONNX Runtime session whose network computes in half precision."""


class Finding(Struct, frozen=True):
    """Result of the trial."""

    fits: bool
    words: str
    lasting: bool = True
    """Whether another trial would give the same result."""


def choose_precision(shop: RewriteTarget, precision: Precision, open_single: Callable[[], Session]) -> Session:
    """Choose the precision of the recogniser, by a cached or a new trial, and report the choice.

    Gives a HalfSession, or the session in single precision.
    """
    role = f"{HALF}-{precision}-{_hardware(shop.device)}"
    entry, half = recall(shop, role)
    single = None if half is not None else open_single()
    if entry is not None:
        words = entry.facts["finding"]
    else:
        assert single is not None
        half, words = _try_and_keep(shop, role, single, precision)
    where = f"{shop.title} on {shop.device.name}"
    if half is not None:
        shop.report.detail(f"{where} computes in {NAME}: {words}")
        return HalfSession(half.native)
    assert single is not None
    shop.report.detail(f"{where} computes in single precision; in {NAME} {words}")
    return single


def _try_and_keep(
    shop: RewriteTarget, role: str, single: Session, precision: Precision
) -> tuple[OnnxSession | None, str]:
    """The session in half precision if it is chosen, and the reason."""
    try:
        rewrite = maker(shop, NAME, lambda surgery, graph: _halve(surgery, graph, shop.normalisation))()
        if rewrite is None:
            finding = Finding(fits=False, words="its graph cannot be written")
        else:
            half, entry = open_rewrite(shop, rewrite)
            finding = _judge(shop, single, half, precision)
    except ImportError as error:  # a build of ONNX Runtime without its tools
        finding = Finding(fits=False, words=f"it cannot be converted ({error})", lasting=False)
    except DeviceFull as error:
        finding = Finding(fits=False, words=f"it is out of memory now ({error.hint})", lasting=False)
    except FacecliError as error:
        # A lost device fails here as well; that error is raised and not recorded against half precision.
        _fed(shop, single).run(equivalence.proving_crops(shop.normalisation)[:1])
        finding = Finding(fits=False, words=f"it fails ({error.hint or error.what})")
    if not finding.fits:
        if finding.lasting:
            keep(shop, role, Entry({"rewrite": "", "finding": finding.words}))
        return None, finding.words
    entry.facts["finding"] = finding.words
    keep(shop, role, entry)
    return half, finding.words


def _halve(surgery: Any, graph: Any, normalisation: tuple[float, float]) -> list[HeadWeights] | None:
    """Open the batch axis, convert to half precision, and let it take pixels, which are normalised in single precision.

    Only the module for half precision imports ONNX Runtime's converter.
    """
    surgery.open_axes(graph)
    done = importlib.import_module("facecli.vision.optimization.rewrites.half").halve(graph)
    return [] if done and surgery.take_pixels(graph, *normalisation) else None


def _judge(shop: RewriteTarget, single: Session, half: Session, precision: Precision) -> Finding:
    """Compare half with single precision: first the embeddings, then the time."""
    crops = equivalence.proving_crops(shop.normalisation)
    original = open_session(shop.file.path, Device("cpu", CPU))
    given = _fed(shop, half).run(crops)[0]
    cosines = [
        equivalence.cosines(equivalence.embeddings_of(reference, crops), given)
        for reference in (_fed(shop, single), original)
    ]
    words = f"cosine {np.min(cosines):.5f} at the least, {np.mean(cosines):.5f} on average"
    if not all(equivalence.is_kept(part, precision) for part in cosines):
        return Finding(fits=False, words=f"its embeddings differ ({words})")
    if single.input.pixels:
        share = _share_of_time(single, half, equivalence.pixels_of(crops, shop.normalisation))
    else:
        share = _share_of_time(single, _fed(shop, half), crops)
    if share > LEAST_GAIN:
        return Finding(fits=False, words=f"it takes {share:.0%} of the time")
    return Finding(fits=True, words=f"{words}, {share:.0%} of the time")


def _fed(shop: RewriteTarget, session: Session) -> Session:
    return equivalence.fed_with_values(session, shop.normalisation)


def _share_of_time(single: Session, half: Session, crops: NDArray[Any]) -> float:
    """The second session's time as a share of the first's, with batches if both accept them."""
    for rows in ROWS if single.input.shape[0] is None else ROWS[-1:]:
        try:
            before, after = equivalence.medians_of((single, half), np.resize(crops, (rows, *crops.shape[1:])), ROUNDS)
        except DeviceFull:
            if rows == ROWS[-1]:
                raise
        else:
            return after / before
    raise AssertionError


def _hardware(device: Device) -> str:
    """Eight hexadecimal digits, equal for devices of the same model, as far as known.

    A precision that is faster on one model may be slower on another.
    """
    described = ""
    if device.kind in GPU_KINDS:
        gpu = read_gpu(device.number)
        described = gpu.name if gpu else ""
    else:
        for plugged in plugged_devices(device.provider)[device.number :][:1]:
            described = f"{plugged.device.type} {plugged.device.vendor_id} {plugged.device.device_id}"
    return xxhash.xxh3_64_hexdigest(described.encode())[:8]
