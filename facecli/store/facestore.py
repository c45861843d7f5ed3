"""The index on disk: the catalogue, which is the truth, and the vector file, which is derived from it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from facecli.config import By
from facecli.store.records import (
    Batch,
    Committed,
    EmbeddingKind,
    Finished,
    IndexInfo,
    KeptOut,
    KnownFile,
    StoredFace,
    StoredPhoto,
)
from facecli.types import FloatArray, IndexedPhoto, Match, PhotoFile, Skipped


def open_reader(directory: Path) -> IndexReader:
    """Open an index for reading; it shows one state until it is closed."""
    raise NotImplementedError


def open_writer(directory: Path, kind: EmbeddingKind | None = None, *, create: bool = False, wait_seconds: float = 0.0) -> IndexWriter:
    """Lock an index for writing; `create` makes one of `kind` where there is none.

    Raises IndexMismatch where `kind` is given and the index is of another; IndexLocked where another process writes for longer than
    `wait_seconds`.
    """
    raise NotImplementedError


class IndexReader:
    """An index that is read; a context manager. Its methods may be called from any thread."""

    def __enter__(self) -> IndexReader:
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        raise NotImplementedError

    @property
    def info(self) -> IndexInfo:
        raise NotImplementedError

    def nearest(
        self, queries: FloatArray, *, top: int, minimum: float | None, by: By, leave_out: Sequence[int | None] = ()
    ) -> list[list[Match]]:
        """The nearest faces to each query; `queries` float32 (q, d), unit length; `top` 0 for all; `leave_out` one face id a query."""
        raise NotImplementedError

    def face(self, face_id: int) -> StoredFace:
        """One face; raises QueryError where there is none."""
        raise NotImplementedError

    def photos(self) -> Iterator[StoredPhoto]:
        """All photos, ascending by path."""
        raise NotImplementedError

    def faces_of(self, photo_id: int) -> list[StoredFace]:
        raise NotImplementedError

    def skips(self) -> Iterator[Skipped]:
        """The recorded skips (`known` set), ascending by path."""
        raise NotImplementedError

    def under(self, root: str) -> Iterator[KnownFile]:
        """What is known at or below a path, ascending by os.fsencode(path), photos and skips together; read a page at a time."""
        raise NotImplementedError

    def at(self, path: str) -> KnownFile | None:
        raise NotImplementedError

    def with_digest(self, digest: bytes) -> list[KnownFile]:
        """The photos with this content, ascending by path; none that must be embedded again."""
        raise NotImplementedError

    def load(self, photo_id: int, file: PhotoFile) -> IndexedPhoto:
        """A stored photo with its faces as if found in `file`: for a copy of it."""
        raise NotImplementedError

    def kept_out(self, digest: bytes) -> KeptOut:
        raise NotImplementedError

    def roots(self) -> tuple[str, ...]:
        """The directories that were indexed, absolute, sorted."""
        raise NotImplementedError

    def mounts(self) -> tuple[str, ...]:
        """The mount points that were seen below them, absolute, sorted."""
        raise NotImplementedError


class IndexWriter(IndexReader):
    """An index that is written, under its lock. Only one thread calls the methods that write."""

    def __enter__(self) -> IndexWriter:
        raise NotImplementedError

    def commit(self, batch: Batch) -> Committed:
        """Make a batch durable. Faces that are the same as before (IoU >= 0.9, cosine >= 0.98) keep their ids."""
        raise NotImplementedError

    def prune(self, photo_ids: Sequence[int], skipped_paths: Sequence[str] = ()) -> int:
        """Drop photos, and the records of skipped files, that are gone; the number of faces dropped. Erased by `finish`."""
        raise NotImplementedError

    def set_roots(self, roots: Sequence[str], mounts: Sequence[str]) -> None:
        """Remember these roots and mount points in place of all earlier ones."""
        raise NotImplementedError

    def finish(self, wait_readers: float = 0.0) -> Finished:
        """End a run: erase provably what was dropped, and rebuild the vector file where over a fifth of it is holes."""
        raise NotImplementedError

    def begin_migration(self, kind: EmbeddingKind) -> None:
        """Start, or go on with, embedding all photos anew: from here on `under`, `at`, `with_digest`, `load`, `commit` act on the new set."""
        raise NotImplementedError

    def unmigrated(self) -> Iterator[StoredPhoto]:
        """The photos of the old set that the new one lacks, ascending by path."""
        raise NotImplementedError

    def finish_migration(self, *, drop_unreachable: bool) -> int:
        """Switch to the new set in one transaction; the number of photos dropped. Raises StoreError while some are not migrated."""
        raise NotImplementedError
