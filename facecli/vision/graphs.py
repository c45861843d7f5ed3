"""Exact rewrites of a pack's networks: made once for a model, a processor and a version of ONNX Runtime, proved, and kept in the cache.

What a network gives stays the same; how ONNX Runtime gets there changes. Where a rewrite's pattern is not there, or the result is not the
original's, or takes longer, the next one is tried, and the original is the last.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash

from facecli.errors import FacecliError, PackError
from facecli.types import FloatArray, Reporter
from facecli.vision import proving
from facecli.vision.device import Device
from facecli.vision.graphcache import Entry, load_entry, make_directory, store_entry
from facecli.vision.networks import FaceNetwork, HeadWeights, LazyNetwork, PlainNetwork
from facecli.vision.packs import ModelFile
from facecli.vision.processor import processor_identity
from facecli.vision.runtime import load_onnxruntime
from facecli.vision.scrfd import LAYOUTS
from facecli.vision.session import CPU, OnnxSession, Session, SessionOptions, open_session

VERSION = 2
"""Raised when a rewrite gives another graph."""
PROVING_SIDE = 320
OUTPUTS_OF_A_STRIDE = 3


@dataclass(frozen=True, slots=True, eq=False)
class Rewrite:
    """A rewritten model."""

    name: str
    model: bytes
    heads: list[HeadWeights] = field(default_factory=list)
    """Of a detector without its last convolutions; else empty."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """For which model and device rewrites are made, and whom to tell."""

    file: ModelFile
    device: Device
    report: Reporter

    @property
    def normalisation(self) -> tuple[float, float]:
        return normalisation(self.file)


def normalisation(file: ModelFile) -> tuple[float, float]:
    """Mean, and the factor that stands for the division by the scale."""
    return file.mean, 1.0 / file.scale


def open_recogniser(file: ModelFile, device: Device, report: Reporter) -> Session:
    """The recogniser's network in its fastest proved form."""
    shop = Workshop(file, device, report)
    entry, session = _recall(shop, "recogniser")
    if session is not None:
        return session
    if entry is not None:
        return open_session(file.path, device)
    original = open_session(file.path, device)
    crops = proving.proving_crops(shop.normalisation)

    def proved(session: Session, _: Rewrite) -> bool:
        return proving.same_embeddings(original, session, crops) and _no_slower(shop, (original, session), crops[:1])

    found = _choose(shop, "recogniser", _rewrites_of_recogniser(shop), proved)
    return found[0] if found else original


def open_detector(file: ModelFile, device: Device, report: Reporter) -> FaceNetwork:
    """The detector's network in its fastest proved form."""
    shop = Workshop(file, device, report)
    entry, session = _recall(shop, "detector")
    if entry is not None and session is not None:
        return _network(session, _heads_of(entry))
    original = open_session(file.path, device)
    layout = LAYOUTS.get(len(original.outputs))
    if layout is None or not layout.landmarks:
        raise PackError("the detector gives no landmarks, so faces cannot be aligned", file.path, hint="take another pack, such as buffalo_l")
    plain = PlainNetwork(original, layout)
    if entry is not None:
        return plain
    blob = proving.proving_photos(file.input_size or PROVING_SIDE, shop.normalisation)

    def proved(session: Session, rewrite: Rewrite) -> bool:
        return proving.same_faces(plain, _network(session, rewrite.heads), blob) and _no_slower(shop, (original, session), blob[:1])

    found = _choose(shop, "detector", _rewrites_of_detector(shop), proved)
    return _network(*found) if found else plain


def _network(session: Session, heads: list[HeadWeights]) -> FaceNetwork:
    if heads:
        return LazyNetwork(session, LAYOUTS[OUTPUTS_OF_A_STRIDE * len(heads)], heads)
    return PlainNetwork(session, LAYOUTS[len(session.outputs)])


def _no_slower(shop: Workshop, sessions: tuple[Session, Session], feed: FloatArray) -> bool:
    """Whether the second session takes no more than the first; only a CPU's time can be told apart from that of other programs."""
    if shop.device.provider != CPU:
        return True
    before, after = proving.seconds_of(sessions, feed)
    return after <= 1.1 * before


def _choose(
    shop: Workshop, role: str, rewrites: Sequence[Callable[[], Rewrite | None]], proved: Callable[[Session, Rewrite], bool]
) -> tuple[Session, list[HeadWeights]] | None:
    """The first rewrite that applies, loads and is proved; what was chosen is kept."""
    for make in rewrites:
        rewrite = make()
        if rewrite is None:
            continue
        with contextlib.suppress(FacecliError):
            session, entry = _optimise(shop, rewrite)
            if proved(session, rewrite):
                _keep(shop, role, entry)
                return session, rewrite.heads
        shop.report.detail(f"{os.path.basename(shop.file.path)}: left aside, since it does not give the same or is no faster: {rewrite.name}")
    _keep(shop, role, Entry({"rewrite": ""}))
    return None


def _optimise(shop: Workshop, rewrite: Rewrite) -> tuple[OnnxSession, Entry]:
    """Open a rewrite; on a CPU by way of the graph that ONNX Runtime makes of it, which loads faster the next time."""
    model, optimised = rewrite.model, False
    if shop.device.provider == CPU:
        with contextlib.suppress(OSError):
            model, optimised = _optimised(rewrite.model, shop.device), True
    session = open_session(model, shop.device, SessionOptions(optimised=optimised))
    arrays: dict[str, Any] = {}
    for number, head in enumerate(rewrite.heads):
        arrays |= {f"{number}.{name}": getattr(head, name) for name in HeadWeights.__dataclass_fields__}
    return session, Entry({"rewrite": rewrite.name, "optimised": optimised, "heads": len(rewrite.heads)}, model, arrays)


def _optimised(model: bytes, device: Device) -> bytes:
    """The graph as ONNX Runtime has optimised it for this processor; raises OSError where the cache cannot be written."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=make_directory()) as folder:
        path = os.path.join(folder, "optimised.onnx")
        open_session(model, device, SessionOptions(save_to=path))
        with open(path, "rb") as file:
            return file.read()


def _recall(shop: Workshop, role: str) -> tuple[Entry | None, OnnxSession | None]:
    """What was kept for a model: nothing, or that the original is the best, or a session of its rewrite."""
    entry = load_entry(_name(shop, role))
    if entry is None or not entry.model:
        return entry, None
    try:
        return entry, open_session(entry.model, shop.device, SessionOptions(optimised=bool(entry.facts["optimised"])))
    except FacecliError as error:
        shop.report.detail(f"a rewritten model in the cache is of no use and is made again: {error.hint}")
        return None, None


def _keep(shop: Workshop, role: str, entry: Entry) -> None:
    try:
        store_entry(_name(shop, role), entry)
    except OSError as error:
        shop.report.detail(f"the cache cannot be written, so the models are prepared again each time: {error}")


def _heads_of(entry: Entry) -> list[HeadWeights]:
    names = HeadWeights.__dataclass_fields__
    return [HeadWeights(**{name: entry.arrays[f"{number}.{name}"] for name in names}) for number in range(entry.facts["heads"])]


def _name(shop: Workshop, role: str) -> str:
    """The entry's name: what the model, the provider and the processor are, then a digest of the versions."""
    versions = f"{VERSION}|{load_onnxruntime().__version__}|{shop.file.mean}|{shop.file.scale}"
    place = shop.device.provider.removesuffix("ExecutionProvider").lower()
    return f"{shop.file.sha256[:32]}-{role}-{place}-{processor_identity()}-{xxhash.xxh3_64_hexdigest(versions.encode())}"


def _rewrites_of_recogniser(shop: Workshop) -> list[Callable[[], Rewrite | None]]:
    """The best first. Other devices than a CPU have kernels of their own, so there only the batch axis is opened."""
    axes = _maker(shop, "an open batch axis", lambda surgery, graph: surgery.open_axes(graph) or [])
    if shop.device.provider != CPU:
        return [axes]
    return [_maker(shop, "PRelu by convolutions", lambda surgery, graph: surgery.rewrite_recogniser(graph)), axes]


def _rewrites_of_detector(shop: Workshop) -> list[Callable[[], Rewrite | None]]:
    axes = _maker(shop, "an open batch axis", lambda surgery, graph: surgery.open_axes(graph) or [])
    if shop.device.provider != CPU:
        return [axes]
    return [_maker(shop, "heads at candidates only", lambda surgery, graph: surgery.rewrite_detector(graph)), axes]


def _maker(shop: Workshop, name: str, change: Callable[[Any, Any], list[HeadWeights] | None]) -> Callable[[], Rewrite | None]:
    """A function that makes one rewrite; it gives None where the pattern is not there. Only it imports onnx."""

    def make() -> Rewrite | None:
        try:
            surgery = importlib.import_module("facecli.vision.rewrites.surgery")
        except ImportError as error:
            shop.report.detail(f"the models are not rewritten: {error}")
            return None
        with open(shop.file.path, "rb") as file:
            graph = surgery.read_graph(file.read())
        heads = None if graph is None else change(surgery, graph)
        return None if heads is None else Rewrite(name, graph.to_bytes(), heads)

    return make
