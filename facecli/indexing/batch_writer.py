"""The writer of a run: collects the results of the workers and commits them in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from msgspec.structs import replace

from facecli.directories import is_gone
from facecli.indexing.outcomes import FileOutcome, FileTask, Fresh, Recognised, Unaltered
from facecli.pipeline.clock import StageClock
from facecli.store.records import Batch, KnownFile
from facecli.store.writer import IndexWriter
from facecli.types import IndexedPhoto, IndexReport, PhotoFile, Skipped

COMMIT_SECONDS = 5.0
"""Longest time between two commits, so that an interrupted run loses little."""
COMMIT_PHOTOS = 2048
"""Most photos in a commit, if the user names no number: larger commits are not cheaper by photo."""
COMMIT_FACES = 16_384
"""Most faces in a commit but for one photo's: some 40 MB."""


class BatchWriter:
    """Turns results into batches, in one thread and in the order of the files."""

    def __init__(self, store: IndexWriter, report: IndexReport, clock: StageClock, batch_size: int | None) -> None:
        self._store, self._report, self._clock = store, report, clock
        self._batch_size = batch_size or COMMIT_PHOTOS
        self._keeps_out = store.info.kept_out > 0
        self.may_move: Callable[[str], bool] = lambda _: False
        """Whether a photo that is missing at a path may have moved: only if the run can know that it is gone."""
        self.reads_again = False
        """Whether the faces of a known content are those found in this run."""
        self.follows_looked_at = False
        """Whether a photo read in this run may be a moved one: only if known contents are read again."""
        self.moved: set[int] = set()
        """Ids of photos that have moved to another path."""
        self.replaced: list[int] = []
        """Ids of photos whose path now holds a content that was removed earlier."""
        self.faces_found = 0
        """The faces in the photos taken so far, for the progress; they are added when they are committed."""
        self._gone: dict[bytes, list[int]] = {}
        """For each recognised content, the ids of photos whose file is gone and that have not moved yet, in reverse
        order."""
        self._empty()

    def _empty(self) -> None:
        self._photos: list[IndexedPhoto] = []
        self._faces = 0
        self._contents: dict[bytes, IndexedPhoto] = {}
        """One of `_photos` for each content."""
        self._moves: list[tuple[int, PhotoFile]] = []
        self._touches: list[tuple[int, PhotoFile]] = []
        self._skips: list[Skipped] = []
        self._since = self._clock.now()

    def take(self, result: FileOutcome, again: Callable[[FileTask], FileOutcome]) -> None:
        """Take the result for one file.

        Workers know little of the index, so it is settled here whether a content is kept out, or known by now. `again`
        reads a file again if the photo with the same content has been removed from the index in the meantime.
        """
        match result:
            case Skipped():
                self.skip(result)
            case Fresh(photo, known):
                if not self._refuse(photo.digest, known):
                    self._take_fresh(photo, known)
            case Unaltered(file, known):
                if not self._refuse(known.digest, known):
                    assert known.photo_id is not None
                    self._touches.append((known.photo_id, file))
                    self._report.photos.unchanged += 1
            case Recognised(file, digest, known):
                if not self._refuse(digest, known) and not self._take_known(file, digest, known):
                    self.take(again(FileTask(file, known)), again)
            case _:
                assert_never(result)
        self.commit_if_due()

    def _refuse(self, digest: bytes, known: KnownFile | None) -> bool:
        """Leave out a content that was removed from the index earlier; whether it was."""
        if not (self._keeps_out and self._store.kept_out(digest).photo):
            return False
        self._report.kept_out += 1
        if known is not None and known.photo_id is not None:
            self.replaced.append(known.photo_id)
        return True

    def skip(self, skipped: Skipped) -> None:
        """Take a file that could not be read."""
        self._skips.append(skipped)
        self._report.photos.skipped += 1
        self._report.skipped.append(skipped)

    def _take_fresh(self, photo: IndexedPhoto, known: KnownFile | None) -> None:
        """Take a photo read in this run, or what the index has by now for the same content.

        At a new path it may be a moved one, which keeps its ids.
        """
        if not self.reads_again and self._take_known(photo.file, photo.digest, known):
            return
        is_new = known is None or known.photo_id is None
        moved = self._moved_from(photo.digest) if is_new and self.follows_looked_at else None
        if moved is None:
            self._add(photo, known)
        else:
            self._move(moved, photo.file)
            self._gather(photo)

    def _take_known(self, file: PhotoFile, digest: bytes, known: KnownFile | None) -> bool:
        """Take a file whose content the index has: the photo has moved here, or this is a copy; whether it has it."""
        twin = self._contents.get(digest)
        photo_id = self._store.photo_of_content(digest) if twin is None else None
        if twin is None and photo_id is None:
            return False
        is_new = known is None or known.photo_id is None
        moved = self._moved_from(digest) if is_new else None
        if moved is not None:
            self._move(moved, file)
        elif twin is not None:
            self._add(replace(twin, file=file), known)
        else:
            assert photo_id is not None
            self._add(self._store.load(photo_id, file), known)
        return True

    def _move(self, photo_id: int, file: PhotoFile) -> None:
        self._moves.append((photo_id, file))
        self.moved.add(photo_id)
        self._report.photos.moved += 1

    def _moved_from(self, digest: bytes) -> int | None:
        """The id of a photo with this content whose file is gone, if any.

        The files of a content are looked up only once per run: photos added by the run exist, and otherwise each of a
        hundred thousand copies would look up all the others.
        """
        gone = self._gone.get(digest)
        if gone is None:
            known = reversed(self._store.with_digest(digest))
            gone = self._gone[digest] = [
                k.photo_id for k in known if k.photo_id is not None and self._has_moved(k.file.path)
            ]
        return gone.pop() if gone else None

    def _has_moved(self, path: str) -> bool:
        return self.may_move(path) and is_gone(path)

    def _add(self, photo: IndexedPhoto, known: KnownFile | None) -> None:
        self._gather(photo)
        if known is None or known.photo_id is None:
            self._report.photos.new += 1
        else:
            self._report.photos.changed += 1

    def _gather(self, photo: IndexedPhoto) -> None:
        self._photos.append(photo)
        self._faces += len(photo.detections)
        self.faces_found += len(photo.detections)
        self._contents[photo.digest] = photo

    def commit_if_due(self) -> None:
        """Commit if the batch is full or its time is over."""
        is_full = self._count >= self._batch_size or self._faces >= COMMIT_FACES
        if is_full or (self._count and self._clock.now() - self._since >= COMMIT_SECONDS):
            self.commit()

    @property
    def _count(self) -> int:
        return len(self._photos) + len(self._moves) + len(self._touches) + len(self._skips)

    def commit(self) -> None:
        """Commit the collected results."""
        if self._count:
            batch = Batch(tuple(self._photos), tuple(self._moves), tuple(self._touches), tuple(self._skips))
            with self._clock.busy("write"):
                committed = self._store.commit(batch)
            self._report.faces.added += committed.faces_added
            self._report.faces.removed += committed.faces_removed
            self._report.kept_out += committed.faces_kept_out
        self._empty()
