"""What an index run is asked for, and the settings that this comes to."""

from __future__ import annotations

import os

from msgspec import Struct, field
from msgspec.structs import replace

from facecli.config import DetectionOptions, IndexOptions, Precision
from facecli.directories import absolute
from facecli.errors import UsageError
from facecli.fingerprint import Fingerprint
from facecli.store.records import EmbeddingKind, IndexInfo
from facecli.vision.packs.resolve import ModelPack, find_pack, find_recorded_pack


class IndexRequest(Struct, frozen=True):
    """One run: which index, which photos, how."""

    directory: str
    """The index."""
    roots: tuple[str, ...] = ()
    """Photos and directories; empty for the roots that the index knows."""
    listed: tuple[str, ...] | None = None
    """The photos of a list; None where no list was given."""
    options: IndexOptions = field(default_factory=IndexOptions)
    began: float | None = None
    """When the run began, on the clock of time.perf_counter; None for when it is called."""


def resolve(request: IndexRequest) -> IndexRequest:
    """The request with absolute paths, as the index stores them.

    A relative path would name another place in the next run.
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
    """An absolute path; raises UsageError on an empty name."""
    if not os.fspath(path):
        raise UsageError("an empty name", "facecli.IndexRequest")
    return absolute(os.fsdecode(path))


class Settings(Struct, frozen=True):
    """What the embeddings of a run are made with, and whether the index has others."""

    kind: EmbeddingKind
    pack: ModelPack | None
    """The pack, where it was named or the index is new; else it is looked for only when a photo has to be looked at."""
    migrates: bool

    def find_pack(self) -> ModelPack:
        """The pack that the fingerprint names; raises PackError where it is not to be had."""
        if self.pack is not None:
            return self.pack
        wanted = self.kind.fingerprint
        return find_recorded_pack(
            wanted.model, self.kind.model_directory or "", wanted.detector_sha256, wanted.recogniser_sha256
        )


def settle(options: IndexOptions, info: IndexInfo | None) -> Settings:
    """The settings of a run: what was named, else what the index has, else the defaults.

    Raises IndexMismatch where a named value is another than the index's and no migration was asked for.
    """
    if info is None:
        default = find_pack(options.model)
        return Settings(_kind_of(default, DetectionOptions(), Precision.EXACT, options), default, migrates=False)
    recorded = info.fingerprint
    pack = find_pack(options.model) if options.model is not None else None
    if pack is not None:
        kind = _kind_of(pack, recorded.detection, recorded.precision, options)
    else:
        precision = options.precision or recorded.precision
        wanted = replace(
            recorded.as_made_here(), detection=_detection(recorded.detection, options), precision=precision
        )
        kind = EmbeddingKind(wanted, info.licence, info.model_directory)
    if not options.migrate:
        recorded.ask_same(
            kind.fingerprint, info.directory, "use another index with -i, or embed everything again with --migrate"
        )
    return Settings(kind, pack, migrates=bool(recorded.differences(kind.fingerprint)))


def _kind_of(
    pack: ModelPack, detection: DetectionOptions, precision: Precision, options: IndexOptions
) -> EmbeddingKind:
    """What a pack gives with the options that were named."""
    wanted = Fingerprint(
        pack.name, pack.detector.sha256, pack.recogniser.sha256, pack.dimension, _detection(detection, options)
    )
    directory = os.path.abspath(options.model) if options.model and os.path.isdir(options.model) else None
    return EmbeddingKind(replace(wanted, precision=options.precision or precision), pack.licence, directory)


def _detection(base: DetectionOptions, options: IndexOptions) -> DetectionOptions:
    """The detection settings with those that were named."""
    return DetectionOptions(
        det_size=base.det_size if options.det_size is None else options.det_size,
        small_scale=base.small_scale,
        min_score=base.min_score if options.min_score is None else options.min_score,
        min_face=base.min_face if options.min_face is None else options.min_face,
        rotate=base.rotate if options.rotate is None else options.rotate,
        tiles=base.tiles if options.thorough is None else options.thorough,
    )
