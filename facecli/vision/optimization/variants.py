"""Make rewrites of a network, choose the first that passes verification, and cache it.

A choice holds for one model, provider, processor and version of ONNX Runtime.
"""

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
from facecli.onnx_loading import load_onnxruntime
from facecli.reporting import Reporter
from facecli.scratch import scratch_folder
from facecli.vision.detection.network import HeadWeights
from facecli.vision.optimization.rewrite_cache import Entry, load_entry, make_cache_directory, store_entry
from facecli.vision.packs.resolve import ModelFile
from facecli.vision.runtime.processor import processor_identity
from facecli.vision.runtime.providers import CPU, Device
from facecli.vision.runtime.session import OnnxSession, Session, SessionOptions, lacks_memory, open_session

VERSION = 4
"""Increase when a rewrite gives another graph."""


class Rewrite(Struct, frozen=True, eq=False):
    """A rewritten model."""

    name: str
    model: bytes
    heads: list[HeadWeights] = field(default_factory=list)
    """Heads of a detector without its last convolutions; else empty."""


Maker = Callable[[], Rewrite | None]
"""Makes one rewrite; gives None if the pattern is missing."""


class RewriteTarget(Struct, frozen=True):
    """The model and device to make rewrites for."""

    file: ModelFile
    device: Device
    report: Reporter

    @property
    def normalisation(self) -> tuple[float, float]:
        return normalisation(self.file)

    @property
    def title(self) -> str:
        """The model's name in messages."""
        return os.path.basename(self.file.path)


def normalisation(file: ModelFile) -> tuple[float, float]:
    """Mean and factor of the network's input: (pixel - mean) * factor."""
    return file.mean, 1.0 / file.scale


def choose_variant(
    shop: RewriteTarget, role: str, rewrites: Sequence[Maker], proved: Callable[[Session, Rewrite], bool]
) -> tuple[Session, list[HeadWeights]] | None:
    """The first rewrite that applies, loads and passes `proved`; None if the original is used.

    The choice is cached, unless it was made for want of memory.
    """
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
        why = "its results differ or it is slower"
        try:
            session, entry = open_rewrite(shop, rewrite)
            if proved(session, rewrite):
                if lasting:
                    keep(shop, role, entry)
                return session, rewrite.heads
        except FacecliError as error:
            lasting &= not lacks_memory(error)
            why = f"{error.what} ({error.hint})"
        shop.report.detail(f"{shop.title}: rewrite not used, {why}: {rewrite.name}")
    if lasting:
        keep(shop, role, Entry({"rewrite": ""}))
    return None


def open_rewrite(shop: RewriteTarget, rewrite: Rewrite) -> tuple[OnnxSession, Entry]:
    """Open a rewrite; on a CPU as optimised by ONNX Runtime, which loads faster the next time."""
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
    """The graph as optimised by ONNX Runtime for this processor; raises OSError if the cache cannot be written."""
    with scratch_folder(make_cache_directory()) as folder:
        path = str(folder / "optimised.onnx")
        open_session(model, device, SessionOptions(save_to=path))
        with open(path, "rb") as file:
            return file.read()


def recall(shop: RewriteTarget, role: str) -> tuple[Entry | None, OnnxSession | None]:
    """The cached choice: no entry, an entry for the original without a session, or an entry and its session."""
    entry = recall_entry(shop, role)
    if entry is None or not _holds(entry):
        return None, None
    if not entry.model:
        return entry, None
    try:
        return entry, open_session(entry.model, shop.device, SessionOptions(optimised=bool(entry.facts["optimised"])))
    except FacecliError as error:
        shop.report.detail(f"a rewritten model in the cache cannot be opened and is made again: {error.hint}")
        return None, None


def recall_entry(shop: RewriteTarget, role: str) -> Entry | None:
    """The cache entry, for callers that open the model by other means."""
    return load_entry(_name(shop, role))


def keep(shop: RewriteTarget, role: str, entry: Entry) -> None:
    """Store a choice, if the cache can be written."""
    entry.facts["made_at"] = int(time.time())
    try:
        store_entry(_name(shop, role), entry)
    except OSError as error:
        shop.report.detail(f"the cache cannot be written, so the models are prepared again each time: {error}")


def _holds(entry: Entry) -> bool:
    """Whether a choice is still valid; one based on time expires, since other programs may have been busy."""
    by_time = not entry.model or "finding" in entry.facts
    return not by_time or still_holds(entry.facts.get("made_at"))


def heads_of(entry: Entry) -> list[HeadWeights]:
    """The heads stored with a detector's rewrite."""
    names = HeadWeights.__struct_fields__
    return [
        HeadWeights(**{name: entry.arrays[f"{number}.{name}"] for name in names})
        for number in range(entry.facts["heads"])
    ]


def _name(shop: RewriteTarget, role: str) -> str:
    """The entry's name: model, role, provider and processor, then a digest of the versions."""
    versions = f"{VERSION}|{load_onnxruntime().__version__}|{shop.file.mean}|{shop.file.scale}"
    place = shop.device.provider.removesuffix("ExecutionProvider").lower()
    return (
        f"{shop.file.sha256[:32]}-{role}-{place}-{processor_identity()}-{xxhash.xxh3_64_hexdigest(versions.encode())}"
    )


def maker(shop: RewriteTarget, name: str, change: Callable[[Any, Any], list[HeadWeights] | None]) -> Maker:
    """A function that makes one rewrite: `change` is called with the module of rewrites and the graph.

    onnx is imported only when that function runs.
    """

    def make() -> Rewrite | None:
        surgery = importlib.import_module("facecli.vision.optimization.rewrites.surgery")
        with open(shop.file.path, "rb") as file:
            graph = surgery.read_graph(file.read())
        heads = None if graph is None else change(surgery, graph)
        return None if heads is None else Rewrite(name, graph.to_bytes(), heads)

    return make
