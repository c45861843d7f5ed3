"""The Python interface: add photos to an index, search it, find the faces of a photo, verify two photos.

    from facecli import Index

    index = Index("photos.index")
    index.add("~/Photos")
    for match in index.search("portrait.jpg", top=5):
        print(match.similarity, match.path)

Paths are `str` or path objects, relative to the working directory; `~` is the home directory. Invalid values raise a
`FacecliError` at the call. Nothing is read from stdin, and nothing is printed unless `progress` is given.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, Unpack, cast

from msgspec.structs import replace

from facecli.arguments import (
    FaceId,
    GivenLimits,
    StrPath,
    face_id_of,
    here,
    limits_of,
    named_model,
    named_path,
    read_photo_query,
    several_paths,
)
from facecli.config import WAIT_READERS, Combine, IndexOptions, SearchOptions
from facecli.errors import PhotoError, UsageError, quoted
from facecli.exporting import Export, ExportRequest
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.merging import MergeReport, MergeRequest, merge_indexes
from facecli.naming.album import IndexPeople, adopt_all, open_with_people, refresh_after_run
from facecli.output.export.files import choose_export_format, write_export_file
from facecli.reporting import Reporter, SilentReporter
from facecli.searching.gathering import Surroundings
from facecli.searching.matches import Matches
from facecli.searching.opening import KeptModels, ModelSource, choose_pack
from facecli.searching.people_queries import asks_for_people
from facecli.searching.query_parser import QueryValue, read_query
from facecli.searching.reading import ReadingOptions, read_photos
from facecli.searching.search import search_index
from facecli.searching.verifying import Verdict, verify_photos
from facecli.store.locate import find_index
from facecli.store.reader import IndexReader, open_reader
from facecli.store.records import IndexInfo, Problem, Removal, StoredFace, StoredPhoto
from facecli.store.writer import open_writer
from facecli.types import IndexReport, QueryFace

Queries: TypeAlias = QueryValue | Sequence[QueryValue]


class Index:
    """An index of faces in a directory; a context manager, and an iterable of all its faces.

    Creating an `Index` object touches no files: the first `add` creates the directory. All other methods raise
    IndexMissing if there is no index. Each call sees the current state of the index. Models that a search loads stay
    loaded until `close`. Not thread-safe: use it from one thread at a time.
    """

    def __init__(
        self, path: StrPath, *, model: StrPath | None = None, device: str = "auto", exact: bool = False
    ) -> None:
        """Set the index's directory, the model (a pack's name or directory) and the device.

        `model` None means the pack that the index was made with, or the default pack for a new index. With `exact`
        searches compare all faces, also in a large index, where else a first pass by short codes leaves out most.
        """
        self.path = named_path(path)
        """The directory, absolute."""
        asked = SearchOptions(model=named_model(model), device=device, exact=exact)
        self._model, self._device, self._exact = asked.model, asked.device, asked.exact
        self._models = KeptModels()
        self._iterators = 0

    def __getstate__(self) -> dict[str, Any]:
        """What a copy has, in another process for example: it opens models and iterators of its own."""
        return self.__dict__ | {"_models": KeptModels(), "_iterators": 0}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Index({self.path!r})"

    def __iter__(self) -> Iterator[StoredFace]:
        return self.faces()

    def close(self) -> None:
        """Unload the models; the index stays usable and loads them again when needed."""
        self._models.close()

    @property
    def people(self) -> IndexPeople:
        """The people of the index: lists of them, and decisions about them."""
        return IndexPeople(self._found())

    @property
    def info(self) -> IndexInfo:
        """Counts, model, sizes on disk."""
        with self._reader() as reader:
            return reader.info

    def add(
        self,
        photos: StrPath | Iterable[StrPath] = (),
        *,
        exclude: str | Sequence[str] | None = (),
        progress: bool | Reporter = False,
        options: IndexOptions | None = None,
    ) -> IndexReport:
        """Index photos and directories (recursively); without any, update the photos and directories already indexed.

        `exclude` takes patterns as in .gitignore, which the index keeps for later calls; None forgets them. `progress`
        True shows a progress bar on stderr. `options` holds all other options of `facecli index`. Photos that cannot be
        read are listed in the report's `skipped`; raises FacecliError if nothing can be indexed.
        """
        options = IndexOptions() if options is None else options
        if not isinstance(options, IndexOptions):
            raise UsageError("options are facecli.IndexOptions", type(options).__name__)
        options = options.filled(self._model, self._device).excluding(exclude)
        roots = (photos,) if isinstance(photos, str | os.PathLike) else several_paths(photos)
        request = IndexRequest(self.path, tuple(map(named_path, roots)), options=options)
        report = index_photos(request, _reporter(progress))
        if not options.dry_run:
            refresh_after_run(Path(self.path), report.seconds, SilentReporter())
        return report

    def search(
        self,
        query: Queries,
        *,
        top: int = 10,
        threshold: float | str = "auto",
        face: int | str = "largest",
        by: Literal["photo", "face"] = "photo",
        **limits: Unpack[GivenLimits],
    ) -> Matches:
        """Find the photos with the most similar faces, best first; with `by` "face" one match per face.

        `query` is the path of a photo, `face:ID` or a face id, `person:ID` or `person:NAME`, the bytes of an image
        file, pixels (uint8 (height, width, 3), RGB, upright) or an embedding (float (d,)). A list holds several
        references of one person: their mean is searched. `top` is the maximum number of matches, 0 for all at or over
        the threshold. `threshold` is a cosine similarity from -1 to 1, or "auto", "loose", "balanced", "strict" or
        "none". `face` selects the face of a query photo: "largest", or a number from 1 by falling area. Each match has
        a `confidence`: "likely", "possible" or "unlikely"; None if the model pack is not calibrated.

        `under`, `after`, `before` and `near` limit the search to some photos, as the command's options do.

        Raises PhotoError if a query photo cannot be read, QueryError if it has no such face, UsageError on invalid
        values.
        """
        several = isinstance(query, Sequence) and not isinstance(query, str | bytes | bytearray | memoryview)
        asked = [read_query(one, here()) for one in cast("Sequence[QueryValue]", query if several else (query,))]
        if not asked:
            raise UsageError("nothing to search for", "an empty list of queries")
        if face == "all":
            raise UsageError(
                "one face of a photo is searched for",
                "face='all'",
                hint="facecli.find_faces gives all, each with its embedding",
            )
        options = SearchOptions(
            top=top,
            threshold=threshold,  # type: ignore[arg-type]
            face=face,  # type: ignore[arg-type]
            combine=Combine.MEAN if several else Combine.SEPARATE,
            by=by,  # type: ignore[arg-type]
            model=self._model,
            device=self._device,
            limits=limits_of(limits),
            exact=self._exact,
        )

        def asks(reader: IndexReader) -> bool:
            return asks_for_people(reader, [one.query for one in asked], here())

        with open_with_people(self._found(), asks, SilentReporter()) as reader:
            answer = search_index(reader, asked, options, Surroundings("/", None, SilentReporter(), self._models))
        if answer.failures:
            raise answer.failures[0]
        result = answer.results[0]
        return Matches(result, answer.threshold)

    def faces(self, photo: StrPath | None = None) -> Iterator[StoredFace]:
        """Iterate over all faces, ascending by id, or over the faces of one photo; reads page by page.

        Each face has its embedding, float32 (d,), unit length. Raises PhotoError if the photo is not in the index.
        """
        path = None if photo is None else named_path(photo)
        with self._reader() as reader:
            known = None if path is None else reader.at(path)
        if path is not None and (known is None or known.photo_id is None):
            raise PhotoError("not in the index", path)
        return self._faces(known.photo_id if known is not None else None)

    def _faces(self, photo_id: int | None) -> Iterator[StoredFace]:
        with self._iterating() as reader:
            yield from reader.faces() if photo_id is None else reader.faces_of(photo_id)

    def photos(self) -> Iterator[tuple[StoredPhoto, list[StoredFace]]]:
        """Iterate over all photos, ascending by path, each with its faces; reads page by page."""
        with self._iterating() as reader:
            yield from reader.photos_with_faces()

    def export(
        self,
        file: StrPath,
        *,
        photos: bool = False,
        person: int | str | None = None,
        embeddings: bool = True,
        force: bool = False,
        **limits: Unpack[GivenLimits],
    ) -> int:
        """Write all faces, or with `photos` all photos, to a file as `facecli export` does; returns their number.

        The ending chooses the format: csv, npz or parquet, else JSON Lines. `person` is an id or a name. `under`,
        `after`, `before` and `near` limit the photos. Raises OutputError where the file cannot be written, or is there
        already and `force` is not given; QueryError where there is no such person.
        """
        path = named_path(file)
        chosen = choose_export_format(None, path)
        whose = None if person is None else str(person)
        request = ExportRequest(photos, whose, limits_of(limits), embeddings)
        with self._reader() as reader:
            made = Export(reader, request)
            return write_export_file(chosen, made.table, made.records(), path, force=force)

    def remove(self, *targets: StrPath | FaceId) -> Removal:
        """Remove photos (with all copies), directories and faces (ids or `face:ID`); returns what was removed.

        Removes all targets or none. Later runs do not index them again. Where a reader holds the index open for ten
        seconds, or an iterator of this object does, what is returned is not yet `erased`: the next write finishes that.
        Raises StoreError if a target is not in the index.
        """
        faces = [face for face in map(face_id_of, targets) if face is not None]
        paths = [named_path(target) for target in targets if face_id_of(target) is None]  # type: ignore[arg-type]
        if not targets:
            raise UsageError("nothing was named to remove", self.path)
        with open_writer(self._found()) as writer:
            removal = writer.plan_removal(paths, faces)
            erased = writer.remove(removal, 0.0 if self._iterators else WAIT_READERS)
        return replace(removal, erased=erased)

    def merge(self, *indexes: StrPath, progress: bool | Reporter = False) -> MergeReport:
        """Take in the photos of other indexes, as if this one had indexed them; raises StoreError if that cannot be."""
        report = merge_indexes(MergeRequest(self.path, tuple(map(named_path, indexes))), _reporter(progress))
        adopt_all(Path(report.index), report.with_decisions, _reporter(progress))
        return report

    def check(self) -> list[Problem]:
        """List the problems of the index; empty if it is sound."""
        with self._reader() as reader:
            return list(reader.check())

    def _found(self) -> Path:
        return find_index(self.path, "/")

    def _reader(self) -> IndexReader:
        return open_reader(self._found())

    @contextmanager
    def _iterating(self) -> Iterator[IndexReader]:
        """The index for an iterator, whose end `remove` would await in vain."""
        self._iterators += 1
        try:
            with self._reader() as reader:
                yield reader
        finally:
            self._iterators -= 1


def find_faces(photo: QueryValue, *, model: StrPath | None = None, device: str = "auto") -> tuple[QueryFace, ...]:
    """Find the faces of a photo, by falling area; needs no index.

    `photo` is a path, the bytes of an image file, or pixels: uint8 (height, width, 3), RGB, upright. Each face has a
    box (x1, y1, x2, y2 in pixels), a score and an embedding, float32 (d,), unit length. Raises PhotoError if the photo
    cannot be read.
    """
    options = SearchOptions(model=named_model(model), device=device)
    source = ModelSource(choose_pack(options.model, None), options.device, None, SilentReporter())
    (found,) = read_photos(source, [read_photo_query(photo)], ReadingOptions(options.reading))
    if isinstance(found, PhotoError):
        raise found
    return found.faces


def verify(
    one: QueryValue,
    other: QueryValue,
    *,
    threshold: float | str = "auto",
    model: StrPath | None = None,
    device: str = "auto",
) -> Verdict:
    """Compare the largest faces of two photos; needs no index.

    `one` and `other` are paths, the bytes of image files, or pixels: uint8 (height, width, 3), RGB, upright. The
    verdict has `same`, `similarity` (cosine, -1 to 1) and `threshold`. Raises PhotoError if a photo cannot be read,
    QueryError if it has no face.
    """
    options = SearchOptions(threshold=threshold, model=named_model(model), device=device)  # type: ignore[arg-type]
    return verify_photos(
        (read_photo_query(one), read_photo_query(other)), options, Surroundings("/", None, SilentReporter()), None
    )


def _reporter(progress: bool | Reporter) -> Reporter:  # noqa: FBT001 (the caller names it)
    """Where progress goes: stderr, nowhere, or a script's own reporter."""
    if not isinstance(progress, bool):
        if not hasattr(progress, "advance"):
            raise UsageError("progress is yes, no or a reporter", quoted(progress))
        return progress
    if not progress:
        return SilentReporter()
    from facecli.cli.console import Console  # noqa: PLC0415 (only a bar needs tqdm)

    return Console(quiet=False, verbose=False)
