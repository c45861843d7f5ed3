"""Reconcile the photos of other indexes with those of one: what is new, what supersedes, what stays out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field

from facecli.errors import StoreError
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import FaceRow, PhotoRow
from facecli.store.catalog.whole_rows import Standing
from facecli.store.merging.order import Arriving
from facecli.types import Skipped
from facecli.wording import command_on, counted

_WRITTEN = ("new", "changed")


def refuse(target: Catalogue | None, shards: Sequence[Catalogue]) -> None:
    """Raise IndexMismatch or StoreError where these indexes cannot be merged."""
    everyone = [*([target] if target is not None else []), *shards]
    for one in everyone:
        sets, migrate = one.sets(), command_on(one.directory, "index --migrate")
        if False in sets:
            hint = f"{migrate} finishes it"
            raise StoreError("a migration of the index is under way", one.directory, hint=hint)
        first = everyone[0]
        hint = f"unlike {first.directory}; {migrate} with the options of that makes them the same"
        sets[True].fingerprint.ask_same(first.sets()[True].fingerprint, one.directory, hint)
    for shard in shards:
        if (marks := shard.marks_of_removal()) and (target is None or not _knows(target, shard, marks)):
            let_back, index = (command_on(shard.directory, one) for one in ("remove --forget-all", "index"))
            raise StoreError(
                f"the index has {counted(len(marks), 'removal')}, which another index cannot tell",
                shard.directory,
                hint=f"{let_back} and {index} let them back in; remove them from the merged index then",
            )


def _knows(target: Catalogue, shard: Catalogue, marks: set[tuple[bytes, bytes]]) -> bool:
    """Whether an index has the marks of another, as where one is a copy of the other."""
    return target.removal_key == shard.removal_key and marks <= target.marks_of_removal()


class Plan(Struct):
    """What a chunk brings: the photos to write, and how many are of which kind."""

    photos: list[Arriving] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Of `new`, `changed`, `unchanged`, `kept_out`, `again` (to be embedded again, left out) and `superseded`."""


def plan(target: Catalogue | None, chunk: Sequence[Arriving]) -> Plan:
    """Decide which photos of a chunk are to be written."""
    paths = [one.photo.file.path for one in chunk]
    standing = target.standing(paths) if target is not None else {}
    keeps_out = target is not None and bool(target.number("SELECT EXISTS (SELECT 1 FROM kept_out)"))
    planned = Plan()
    for one in chunk:
        there = standing.get(one.photo.file.path)
        kind = _kind(one, there)
        if kind in _WRITTEN and keeps_out and target is not None and target.kept_out(one.photo.digest).photo:
            kind = "kept_out"
        if kind in _WRITTEN or (kind == "kept_out" and there is not None):
            planned.photos.append(one)  # the writer drops what stands where a removed content is now
        planned.counts[kind] += 1
        planned.counts["superseded"] += one.others
    return planned


def _kind(one: Arriving, there: Standing | None) -> str:
    """The file that was changed last counts, and where that is equal the one that is there."""
    if one.photo.again:
        return "again"
    if there is None:
        return "new"
    if there.again or one.photo.file.mtime_ns > there.mtime_ns:
        return "changed"
    return "unchanged"


def rows_to_write(target: Catalogue, shards: Sequence[Catalogue], photos: Sequence[Arriving]) -> list[PhotoRow]:
    """The rows to write; all photos of one content get the faces of the first, as in an index run."""
    faces = _faces_by_content(target, shards, photos)
    return [
        PhotoRow(photo.file, photo.digest, photo.width, photo.height, faces[photo.digest], photo.capture)
        for photo in (one.photo for one in photos)
    ]


def _faces_by_content(
    target: Catalogue, shards: Sequence[Catalogue], photos: Sequence[Arriving]
) -> dict[bytes, list[FaceRow]]:
    """The faces of each content: those that the index has, else those of the first photo in the order of paths."""
    known = target.contents([one.photo.digest for one in photos])
    stored = target.whole_faces(known.values())
    faces = {digest: stored.get(photo_id, []) for digest, photo_id in known.items()}
    first: dict[bytes, Arriving] = {}
    for one in photos:
        if one.photo.digest not in faces:
            first.setdefault(one.photo.digest, one)
    for number, shard in enumerate(shards):
        mine = {digest: one.photo.photo_id for digest, one in first.items() if one.shard == number}
        read = shard.whole_faces(mine.values())
        faces |= {digest: read.get(photo_id, []) for digest, photo_id in mine.items()}
    return faces


def new_skips(target: Catalogue, skips: Iterable[Skipped]) -> Iterator[Skipped]:
    """The skipped files to record: those at whose path the index has no photo and no later state."""
    for skip in skips:
        there = target.at(skip.file.path)
        if there is None or (
            there.photo_id is None and there.skip is not None and there.skip.file.mtime_ns < skip.file.mtime_ns
        ):
            yield skip
