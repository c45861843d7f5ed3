"""The request of an index run, and the settings derived from it."""

from __future__ import annotations

import os

from msgspec import Struct, field
from msgspec.structs import replace

from facecli.config import DetectionOptions, IndexOptions, Precision
from facecli.directories import absolute
from facecli.errors import UsageError
from facecli.fingerprint import Fingerprint
from facecli.store.records import EmbeddingKind, IndexInfo
from facecli.vision.packs.resolve import ModelPack, find_pack, find_pack_for, find_recorded_pack

OTHER_SETTINGS = "use another index with -i, or embed everything again with --migrate"


class IndexRequest(Struct, frozen=True):
    """One index run: the index, the photos and the options."""

    directory: str
    """The directory of the index."""
    roots: tuple[str, ...] = ()
    """Photos and directories; empty for the roots of the index."""
    listed: tuple[str, ...] | None = None
    """The photos of a list; None if no list was given."""
    options: IndexOptions = field(default_factory=IndexOptions)
    began: float | None = None
    """The start of the run, as returned by time.perf_counter; None for the time of the call."""


def resolve(request: IndexRequest) -> IndexRequest:
    """The request with absolute paths, as the index stores them; raises UsageError on an empty path.

    A relative path could mean another place in the next run.
    """
    if isinstance(request.roots, str | bytes) or isinstance(request.listed, str | bytes):
        raise UsageError(
            "a list of paths is needed, not a single string",
            request.roots or request.listed,
            hint="(path,) is one path",
        )
    return replace(
        request,
        directory=_absolute(request.directory),
        roots=tuple(map(_absolute, request.roots)),
        listed=None if request.listed is None else tuple(map(_absolute, request.listed)),
    )


def _absolute(path: str) -> str:
    """The absolute path; raises UsageError on an empty name."""
    if not os.fspath(path):
        raise UsageError("an empty name", "facecli.IndexRequest")
    return absolute(os.fsdecode(path))


class Settings(Struct, frozen=True):
    """The models and options for the embeddings of a run, and whether the index has to be migrated to them."""

    kind: EmbeddingKind
    pack: ModelPack | None
    """The pack, if it was requested or the index is new; else it is opened only when a photo has to be read."""
    migrates: bool

    def find_pack(self) -> ModelPack:
        """The pack of the fingerprint; raises PackError if it is not available."""
        if self.pack is not None:
            return self.pack
        wanted = self.kind.fingerprint
        return find_recorded_pack(
            wanted.model, self.kind.model_directory or "", wanted.detector_sha256, wanted.recogniser_sha256
        )


def settle(options: IndexOptions, info: IndexInfo | None) -> Settings:
    """The settings of a run: the given options, else those of the index, else the defaults.

    A migration that was begun goes on with the settings that it was begun with. Raises IndexMismatch if an option
    differs from the index and no migration was requested.
    """
    if info is None:
        default = find_pack(options.model)
        return Settings(_kind_of(default, DetectionOptions(), Precision.EXACT, options), default, migrates=False)
    recorded = info.fingerprint
    begun = info.migrating_to if options.migrate else None
    base = begun or EmbeddingKind(recorded, info.licence, info.model_directory)
    made, pack = base.fingerprint, _named_pack(options, info)
    if pack is not None:
        kind = _kind_of(pack, made.detection, made.precision, options)
    else:
        wanted = replace(
            made.as_made_here(),
            detection=_detection(made.detection, options),
            precision=options.precision or made.precision,
        )
        kind = replace(base, fingerprint=wanted)
    if not options.migrate:
        recorded.ask_same(kind.fingerprint, info.directory, OTHER_SETTINGS)
    return Settings(kind, pack, migrates=bool(recorded.differences(kind.fingerprint)))


def _named_pack(options: IndexOptions, info: IndexInfo) -> ModelPack | None:
    """The pack that was named, if one was."""
    if options.model is None:
        return None
    if options.migrate:
        return find_pack(options.model)
    return find_pack_for(options.model, info.fingerprint, info.directory, OTHER_SETTINGS)


def _kind_of(
    pack: ModelPack, detection: DetectionOptions, precision: Precision, options: IndexOptions
) -> EmbeddingKind:
    """The kind of embeddings that a pack makes with the given options."""
    wanted = Fingerprint(
        pack.name, pack.detector.sha256, pack.recogniser.sha256, pack.dimension, _detection(detection, options)
    )
    directory = os.path.abspath(options.model) if options.model and os.path.isdir(options.model) else None
    return EmbeddingKind(replace(wanted, precision=options.precision or precision), pack.licence, directory)


def _detection(base: DetectionOptions, options: IndexOptions) -> DetectionOptions:
    """The detection settings, changed by the given options."""
    return DetectionOptions(
        det_size=base.det_size if options.det_size is None else options.det_size,
        small_scale=base.small_scale,
        min_score=base.min_score if options.min_score is None else options.min_score,
        min_face=base.min_face if options.min_face is None else options.min_face,
        rotate=base.rotate if options.rotate is None else options.rotate,
        tiles=base.tiles if options.thorough is None else options.thorough,
    )
