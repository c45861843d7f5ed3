"""Apply one batch inside its transaction: drop, move, keep and add rows, and collect codes for the vector file."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import (
    CAPTURE,
    FaceRow,
    PhotoRow,
    as_bytes,
    as_int,
    capture_values,
    photo_checksum,
    photo_row,
    read_boxes,
    read_codes,
)
from facecli.store.catalog.sets import PORTION, SetRow
from facecli.store.errors import trusted
from facecli.store.people.following import follow_edit, overlaps_of_numbers
from facecli.store.records import Batch, Committed, KeptOut
from facecli.store.write.deletion import Deletions
from facecli.store.write.face_matching import KEPT_OUT_IOU, match_faces
from facecli.store.write.insertion import STAT, Insertions, stat_values
from facecli.store.write.residue import Residue
from facecli.types import PhotoFile, Skipped


class _OldFace(Struct, frozen=True):
    face_id: int
    slot: int
    box: bytes
    embedding: bytes


class BatchCommit:
    """Applies one batch to the catalogue; used once, within a transaction."""

    def __init__(self, catalogue: Catalogue, row: SetRow, traces: Residue) -> None:
        self._catalogue = catalogue
        self._connection: sqlite3.Connection = catalogue.connection
        self._row = row
        self._deletions = Deletions(catalogue, traces)
        self._new = Insertions(catalogue, row)
        self._photos_out = self._faces_out = 0
        self._has_skips = bool(catalogue.number("SELECT EXISTS (SELECT 1 FROM skips)"))
        self._keeps_out = bool(catalogue.number("SELECT EXISTS (SELECT 1 FROM kept_out)"))

    @property
    def codes(self) -> list[bytes]:
        """The embeddings of new slots, in the order of the slots."""
        return self._new.codes

    def apply(self, batch: Batch) -> None:
        """Write the batch's rows; the caller writes the codes."""
        self._place([*batch.moves, *batch.touches])
        self.store(map(photo_row, batch.photos))
        self.record_skips(batch.skips)

    def result(self) -> Committed:
        """What was written."""
        return Committed(self._new.faces, self._deletions.faces, self._photos_out, self._faces_out)

    # moves and touches

    def _place(self, placed: Sequence[tuple[int, PhotoFile]]) -> None:
        """Set the files of photos; another photo at such a path that is not placed itself is dropped."""
        known = [(photo_id, file, row) for photo_id, file in placed if (row := self._photo_row(photo_id)) is not None]
        at_path = "SELECT photo_id FROM photos WHERE set_id = ? AND path = ?"
        moving = {photo_id for photo_id, _, _ in known}
        for photo_id, file, (path, *_) in known:
            if self._catalogue.paths.pack(file.path) != path:
                self._connection.execute(
                    "UPDATE photos SET path = ? WHERE photo_id = ?", (b"/\0%d" % photo_id, photo_id)
                )
        for photo_id, file, (_, digest, *shape) in known:
            stored = self._catalogue.paths.pack(file.path)
            standing = self._connection.execute(at_path, (self._row.set_id, stored)).fetchone()
            if standing and standing[0] not in moving:
                self._deletions.drop_photo(standing[0])
            checksum = photo_checksum(photo_id, digest, stored, self._row.set_id, file.size, file.mtime_ns, *shape)
            self._set_file(photo_id, stored, file, checksum)
            self._forget_skip(stored)
        self._let_follow([(path, digest, file) for _, file, (path, digest, *_) in known])

    def _let_follow(self, moved: Sequence[tuple[bytes, bytes, PhotoFile]]) -> None:
        """Move what a migration has made of moved photos along with them.

        Left under its old path, perhaps below no root, no later run would look for it.
        """
        begun = self._connection.execute(
            "SELECT set_id FROM sets WHERE NOT current AND set_id != ?", (self._row.set_id,)
        ).fetchone()
        at_path = "SELECT photo_id, digest, width, height FROM photos WHERE set_id = ? AND path = ?"
        for path, digest, file in moved if begun else ():
            stored = self._catalogue.paths.pack(file.path)
            row = self._connection.execute(at_path, (*begun, path)).fetchone() if stored != path else None
            if row is None:
                continue
            if row[1] != digest or self._connection.execute(at_path, (*begun, stored)).fetchone():
                self._deletions.drop_photo(row[0])
                continue
            with trusted(self._catalogue.path):
                photo_id, set_id, *shape = map(as_int, (row[0], *begun, *row[2:]))
                checksum = photo_checksum(photo_id, digest, stored, set_id, file.size, file.mtime_ns, *shape)
            self._set_file(photo_id, stored, file, checksum)

    def _set_file(self, photo_id: int, stored: bytes, file: PhotoFile, checksum: int) -> None:
        query = f"UPDATE photos SET path = ?, {' = ?, '.join(STAT)} = ?, checksum = ? WHERE photo_id = ?"
        self._connection.execute(query, (stored, *stat_values(file), checksum, photo_id))

    def _photo_row(self, photo_id: int) -> tuple[bytes, bytes, int, int] | None:
        query = "SELECT path, digest, width, height FROM photos WHERE photo_id = ? AND set_id = ?"
        row = self._connection.execute(query, (photo_id, self._row.set_id)).fetchone()
        with trusted(self._catalogue.path):
            return row and (as_bytes(row[0]), as_bytes(row[1]), as_int(row[2]), as_int(row[3]))

    # photos

    def store(self, photos: Iterable[PhotoRow]) -> None:
        """Add photos, or replace those at their paths; what was removed earlier stays removed."""
        rest = iter(photos)
        while page := list(itertools.islice(rest, PORTION)):
            there = self._catalogue.standing([photo.file.path for photo in page])
            standing = {path: (one.photo_id, one.digest) for path, one in there.items()}
            for photo in page:
                self._store(photo, standing)
        self._new.flush()

    def _store(self, photo: PhotoRow, standing: dict[str, tuple[int, bytes]]) -> None:
        """Add or replace a photo; `standing` has the id and the content at each path that has a photo."""
        path, faces = photo.file.path, photo.faces
        earlier, stored = standing.get(path), self._catalogue.paths.pack(path)
        if self._has_skips:
            self._forget_skip(stored)
        if self._keeps_out:
            kept_out = self._catalogue.kept_out(photo.digest)
            if kept_out.photo:
                self._photos_out += 1
                if earlier:
                    self._deletions.drop_photo(earlier[0])
                return
            faces = self._without(faces, kept_out)
        if earlier:
            self._new.flush()  # the photo may be one of this batch
            self._replace(photo, stored, *earlier)
            self._match_faces(earlier[0], faces)
            return
        photo_id = self._new.add_photo(photo, stored)
        standing[path] = photo_id, photo.digest
        self._new.add_faces(faces, photo_id)

    def _without(self, faces: list[FaceRow], kept_out: KeptOut) -> list[FaceRow]:
        """The faces without those that were removed earlier."""
        if not len(kept_out.boxes) or not faces:
            return faces
        nearest = overlaps_of_numbers(read_boxes([face.box for face in faces]), kept_out.boxes).max(axis=1).tolist()
        kept = [face for face, overlap in zip(faces, nearest, strict=True) if overlap < KEPT_OUT_IOU]
        self._faces_out += len(faces) - len(kept)
        return kept

    def _replace(self, photo: PhotoRow, stored: bytes, photo_id: int, earlier: bytes) -> None:
        """Write a photo over the one at its path, whose content was `earlier`."""
        file, set_id = photo.file, self._row.set_id
        checksum = photo_checksum(
            photo_id, photo.digest, stored, set_id, file.size, file.mtime_ns, photo.width, photo.height
        )
        values = (photo.digest, *stat_values(file), photo.width, photo.height, checksum)
        names = ("digest", *STAT, "width", "height", "checksum", *CAPTURE)
        query = f"UPDATE photos SET {' = ?, '.join(names)} = ?, again = 0 WHERE photo_id = ?"
        self._connection.execute(query, (*values, *capture_values(photo.capture), photo_id))
        if earlier != photo.digest:
            self._deletions.lost(blob=earlier)

    def _match_faces(self, photo_id: int, faces: list[FaceRow]) -> None:
        """Keep the faces that are the same, drop the missing ones, add the new ones."""
        old = self._old_faces(photo_id)
        size = 2 * self._row.file.dimension
        with trusted(self._catalogue.path):
            before = (
                read_boxes([f.box for f in old]),
                read_codes([f.embedding for f in old if len(f.embedding) == size], self._row.file.dimension),
            )
            now = read_boxes([f.box for f in faces]), read_codes([f.embedding for f in faces], self._row.file.dimension)
        same = match_faces(before, now) if len(before[0]) == len(before[1]) else {}
        dropped = [old[j] for j in sorted(set(range(len(old))) - set(same.values()))]
        added = []
        for gone in dropped:
            self._deletions.drop_face(gone.face_id)
        for i, face in enumerate(faces):
            if i in same:
                self._keep_face(old[same[i]], face, photo_id)
            else:
                added.append((self._new.add_faces([face], photo_id), face.embedding))
        follow_edit(self._connection, [(gone.face_id, gone.embedding) for gone in dropped], added)

    def _old_faces(self, photo_id: int) -> list[_OldFace]:
        query = (
            "SELECT face_id, slot, box, embedding FROM faces LEFT JOIN embeddings USING (face_id) "
            "WHERE photo_id = ? ORDER BY face_id"
        )
        rows = self._connection.execute(query, (photo_id,)).fetchall()
        with trusted(self._catalogue.path):
            return [
                _OldFace(as_int(face), as_int(slot), as_bytes(box), as_bytes(code or b""))
                for face, slot, box, code in rows
            ]

    def _keep_face(self, old: _OldFace, face: FaceRow, photo_id: int) -> None:
        """Update a face that is the same as before.

        A changed embedding gets a new slot, since slots in use are never overwritten.
        """
        slot = old.slot
        if face.embedding != old.embedding:
            slot = self._new.new_slot(face)
            self._connection.execute(
                "INSERT OR REPLACE INTO holes (set_id, slot, erased) VALUES (?, ?, 0)", (self._row.set_id, old.slot)
            )
            self._connection.execute(
                "UPDATE embeddings SET embedding = ? WHERE face_id = ?", (face.embedding, old.face_id)
            )
            self._deletions.lost(blob=old.embedding)
        query = (
            "UPDATE faces SET slot = ?, box = ?, score = ?, found_by = ?, landmarks = ?, checksum = ? WHERE face_id = ?"
        )
        checksum = face.checksum(old.face_id, photo_id)
        self._connection.execute(
            query, (slot, face.box, face.score, face.found_by, face.landmarks, checksum, old.face_id)
        )

    # skips

    def _forget_skip(self, stored: bytes) -> None:
        self._connection.execute("DELETE FROM skips WHERE path = ?", (stored,))

    def record_skips(self, skips: Iterable[Skipped]) -> None:
        """Record the files that could not be read for a reason that lasts."""
        query = (
            f"INSERT OR REPLACE INTO skips (path, {', '.join(STAT)}, reason, detail, refused_by) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        for skip in skips:
            if skip.reason.lasts:
                values = (
                    self._catalogue.paths.pack(skip.file.path),
                    *stat_values(skip.file),
                    str(skip.reason),
                    skip.detail,
                    skip.refused_by,
                )
                self._connection.execute(query, values)


def code_array(codes: list[bytes], dimension: int) -> np.ndarray[tuple[int, int], np.dtype[np.float16]]:
    """Join the embeddings of new slots to a float16 (n, `dimension`)."""
    return np.frombuffer(b"".join(codes), "<f2").reshape(len(codes), dimension)
