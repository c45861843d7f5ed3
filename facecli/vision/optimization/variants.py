"""Make other forms of a network, keep the first that is proved, and find it again: once for a model, a processor and a version of ONNX Runtime."""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import xxhash
from msgspec import Struct, field

from facecli.cache import still_holds
from facecli.errors import FacecliError, PackError
from facecli.scratch import scratch_folder
from facecli.types import Reporter
from facecli.vision.detection.network import HeadWeights
from facecli.vision.optimization.rewrite_cache import Entry, load_entry, make_cache_directory, store_entry
from facecli.vision.packs.resolve import ModelFile
from facecli.vision.runtime.libraries import load_onnxruntime
from facecli.vision.runtime.processor import processor_identity
from facecli.vision.runtime.providers import Device
from facecli.vision.runtime.session import CPU, OnnxSession, Session, SessionOptions, lacks_memory, open_session

VERSION = 3
"""Raised when a rewrite gives another graph."""


class Rewrite(Struct, frozen=True, eq=False):
    """A rewritten model."""

    name: str
    model: bytes
    heads: list[HeadWeights] = field(default_factory=list)
    """Of a detector without its last convolutions; else empty."""


Maker = Callable[[], Rewrite | None]
"""Makes one rewrite; it gives None where the pattern is not there."""


class RewriteTarget(Struct, frozen=True):
    """For which model and device rewrites are made, and whom to tell."""

    file: ModelFile
    device: Device
    report: Reporter

    @property
    def normalisation(self) -> tuple[float, float]:
        return normalisation(self.file)

    @property
    def title(self) -> str:
        """The model as messages name it."""
        return os.path.basename(self.file.path)


def normalisation(file: ModelFile) -> tuple[float, float]:
    """Mean, and the factor that stands for the division by the scale."""
    return file.mean, 1.0 / file.scale


def choose_variant(
    shop: RewriteTarget, role: str, rewrites: Sequence[Maker], proved: Callable[[Session, Rewrite], bool]
) -> tuple[Session, list[HeadWeights]] | None:
    """The first rewrite that applies, loads and is proved; what was chosen is kept, unless memory was lacking for one, or what makes it."""
    lasting = True
    for make in rewrites:
        try:
            rewrite = make()
        except Exception as error:  # noqa: BLE001 (what reads and writes graphs raises whatever it meets, and the original does as well)
            shop.report.detail(f"{shop.title}: not rewritten: {error or type(error).__name__}")
            lasting = False
            continue
        if rewrite is None:
            continue
        why = "it does not give the same or is no faster"
        try:
            session, entry = open_rewrite(shop, rewrite)
            if proved(session, rewrite):
                if lasting:
                    keep(shop, role, entry)
                return session, rewrite.heads
        except FacecliError as error:
            lasting &= not lacks_memory(error)
            why = f"{error.what} ({error.hint})"
        shop.report.detail(f"{shop.title}: left aside, since {why}: {rewrite.name}")
    if lasting:
        keep(shop, role, Entry({"rewrite": ""}))
    return None


def open_rewrite(shop: RewriteTarget, rewrite: Rewrite) -> tuple[OnnxSession, Entry]:
    """Open a rewrite; on a CPU by way of the graph that ONNX Runtime makes of it, which loads faster the next time."""
    model, session = rewrite.model, None
    if shop.device.provider == CPU:
        with contextlib.suppress(OSError, PackError):  # a disk that is full may leave half a graph
            model = _optimised(rewrite.model, shop.device)
            session = open_session(model, shop.device, SessionOptions(optimised=True))
    optimised = session is not None
    if session is None:
        model, session = rewrite.model, open_session(rewrite.model, shop.device)
    arrays: dict[str, Any] = {}
    for number, head in enumerate(rewrite.heads):
        arrays |= {f"{number}.{name}": getattr(head, name) for name in HeadWeights.__struct_fields__}
    return session, Entry({"rewrite": rewrite.name, "optimised": optimised, "heads": len(rewrite.heads)}, model, arrays)


def _optimised(model: bytes, device: Device) -> bytes:
    """The graph as ONNX Runtime has optimised it for this processor; raises OSError where the cache cannot be written."""
    with scratch_folder(make_cache_directory()) as folder:
        path = str(folder / "optimised.onnx")
        open_session(model, device, SessionOptions(save_to=path))
        with open(path, "rb") as file:
            return file.read()


def recall(shop: RewriteTarget, role: str) -> tuple[Entry | None, OnnxSession | None]:
    """What was kept for a model: nothing, or that the original is the best, or a session of its rewrite."""
    entry = recall_entry(shop, role)
    if entry is None or not _holds(entry):
        return None, None
    if not entry.model:
        return entry, None
    try:
        return entry, open_session(entry.model, shop.device, SessionOptions(optimised=bool(entry.facts["optimised"])))
    except FacecliError as error:
        shop.report.detail(f"a rewritten model in the cache is of no use and is made again: {error.hint}")
        return None, None


def recall_entry(shop: RewriteTarget, role: str) -> Entry | None:
    """What was kept for a model, for whoever opens it by other means."""
    return load_entry(_name(shop, role))


def keep(shop: RewriteTarget, role: str, entry: Entry) -> None:
    """Keep what was chosen, as far as the cache can be written."""
    entry.facts["made_at"] = int(time.time())
    try:
        store_entry(_name(shop, role), entry)
    except OSError as error:
        shop.report.detail(f"the cache cannot be written, so the models are prepared again each time: {error}")


def _holds(entry: Entry) -> bool:
    """Whether what was chosen stands; where time decided, for a while alone: other programs may have been busy."""
    by_time = not entry.model or "finding" in entry.facts
    return not by_time or still_holds(entry.facts.get("made_at"))


def heads_of(entry: Entry) -> list[HeadWeights]:
    """The heads that were kept with a detector's rewrite."""
    names = HeadWeights.__struct_fields__
    return [HeadWeights(**{name: entry.arrays[f"{number}.{name}"] for name in names}) for number in range(entry.facts["heads"])]


def _name(shop: RewriteTarget, role: str) -> str:
    """The entry's name: what the model, the provider and the processor are, then a digest of the versions."""
    versions = f"{VERSION}|{load_onnxruntime().__version__}|{shop.file.mean}|{shop.file.scale}"
    place = shop.device.provider.removesuffix("ExecutionProvider").lower()
    return f"{shop.file.sha256[:32]}-{role}-{place}-{processor_identity()}-{xxhash.xxh3_64_hexdigest(versions.encode())}"


def maker(shop: RewriteTarget, name: str, change: Callable[[Any, Any], list[HeadWeights] | None]) -> Maker:
    """A function that makes one rewrite by `change`, which is given the module of rewrites and the graph. Only it imports onnx."""

    def make() -> Rewrite | None:
        surgery = importlib.import_module("facecli.vision.optimization.rewrites.surgery")
        with open(shop.file.path, "rb") as file:
            graph = surgery.read_graph(file.read())
        heads = None if graph is None else change(surgery, graph)
        return None if heads is None else Rewrite(name, graph.to_bytes(), heads)

    return make
