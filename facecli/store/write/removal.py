"""Remove photos and faces for good: plan, carry out, record what stays removed, and allow it again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

import numpy as np

from facecli.errors import StoreError, check_name
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_int, pack_box, read_boxes
from facecli.store.errors import trusted
from facecli.store.people.erasing import erase_face
from facecli.store.people.following import overlaps_of_numbers
from facecli.store.records import Removal, StoredFace, StoredPhoto
from facecli.store.write.deletion import Deletions
from facecli.store.write.face_matching import KEPT_OUT_IOU

_AT_PATH = "SELECT digest FROM photos WHERE set_id IN (SELECT set_id FROM sets) AND path = ?"


def plan_removal(catalogue: Catalogue, paths: Sequence[str], face_ids: Sequence[int]) -> Removal:
    """Plan the removal of paths and faces; raises StoreError or QueryError where one is not in the index."""
    named: dict[int, StoredPhoto] = {}
    skips: list[str] = []
    for path in paths:
        # An empty path would match everything in the catalogue.
        here = {photo.photo_id: photo for photo in catalogue.photos(check_name(path, "a path to remove"))}
        unread = [known.file.path for known in catalogue.under(path) if known.skip is not None]
        if not here and not unread:
            raise StoreError("not in the index", path, hint="facecli info --photos lists the photos in it")
        named |= here
        skips += unread
    copies = _copies(catalogue, named)
    gone = {*named, *copies}
    faces: dict[int, StoredFace] = {}
    for face_id in face_ids:
        faces |= {
            face.face_id: face
            for face in _twins(catalogue, catalogue.face(face_id))
            if catalogue.photo_of(face.face_id) not in gone
        }
    return Removal(
        tuple(named.values()), tuple(copies.values()), tuple(faces.values()), tuple(dict.fromkeys(skips)), tuple(paths)
    )


def _copies(catalogue: Catalogue, named: dict[int, StoredPhoto]) -> dict[int, StoredPhoto]:
    """The other photos with the same content as the named ones."""
    found: dict[int, StoredPhoto] = {}
    for digest in dict.fromkeys(photo.digest for photo in named.values()):
        rows = catalogue.rows("SELECT photo_id FROM photos WHERE digest = ? AND set_id = ?", (digest, catalogue.set_id))
        others = [catalogue.photo(as_int(number)) for (number,) in rows if number not in named]
        found |= {
            photo.photo_id: photo
            for photo in sorted(filter(None, others), key=lambda photo: os.fsencode(photo.file.path))
        }
    return found


def _twins(catalogue: Catalogue, face: StoredFace) -> list[StoredFace]:
    """A face, and the same face in each copy of its photo."""
    query = (
        "SELECT photo_id FROM photos "
        "WHERE digest = (SELECT digest FROM faces JOIN photos USING (photo_id) WHERE face_id = ?) AND set_id = ?"
    )
    rows = catalogue.rows(query, (face.face_id, catalogue.set_id))
    return [other for (number,) in rows for other in catalogue.faces_of(as_int(number)) if other.box == face.box]


class RemovalWork:
    """Carries out a removal within a transaction, in both sets of a migration."""

    def __init__(self, catalogue: Catalogue, deletions: Deletions) -> None:
        self._catalogue = catalogue
        self._connection = catalogue.connection
        self._deletions = deletions

    def carry_out(self, removal: Removal) -> None:
        """Record what was removed, and delete the rows."""
        paths = self._catalogue.paths
        for photo in (*removal.photos, *removal.copies):
            self._drop_content(photo.digest)
        for photo in removal.photos:
            for (digest,) in self._connection.execute(_AT_PATH, (paths.pack(photo.file.path),)).fetchall():
                self._drop_content(as_bytes(digest))
        for face in removal.faces:
            self._drop_face(face)
        for path in removal.skips:
            self._deletions.drop_skip(paths.pack(path))
        for low, high in (part for path in removal.paths for part in paths.ranges(path)):
            self._deletions.drop_roots(low, high)

    def _drop_content(self, digest: bytes) -> None:
        """Record a content as removed, and delete every photo of it."""
        rows = self._connection.execute("SELECT photo_id FROM photos WHERE digest = ?", (digest,)).fetchall()
        if rows:
            self._connection.execute("DELETE FROM kept_out WHERE token = ?", (self._catalogue.token(digest),))
            self._keep_out(digest, None, None)
        for (photo_id,) in rows:
            self._deletions.drop_photo(photo_id)
        self._deletions.forget_people(digest)

    def _drop_face(self, face: StoredFace) -> None:
        """Record a face as removed from its content, and delete it.

        In the other set of a migration, the faces that overlap it (IoU >= 0.5) are deleted.
        """
        query = "SELECT digest, set_id FROM faces JOIN photos USING (photo_id, set_id) WHERE face_id = ?"
        row = self._connection.execute(query, (face.face_id,)).fetchone()
        if row is None:
            return
        with trusted(self._catalogue.path):
            digest, own = as_bytes(row[0]), pack_box(face.box)
            self._keep_out(digest, face.face_id, own)
            erase_face(self._connection, digest, own, face.face_id)
        # IN, so that SQLite uses the index on (digest, set_id) and skips the copies in this set.
        others_of = "digest = ? AND photos.set_id IN (SELECT set_id FROM sets WHERE set_id != ?)"
        query = f"SELECT face_id, box FROM faces JOIN photos USING (photo_id) WHERE {others_of}"
        others = self._connection.execute(query, row).fetchall()
        with trusted(self._catalogue.path):
            boxes = read_boxes([as_bytes(box) for _, box in others])
        near: list[float] = (
            overlaps_of_numbers(boxes, np.array([face.box], np.float32))[:, 0].tolist() if others else []
        )
        for (face_id, _), overlap in zip(others, near, strict=True):
            if overlap >= KEPT_OUT_IOU:
                self._deletions.drop_face(face_id)
        self._deletions.drop_face(face.face_id)

    def _keep_out(self, digest: bytes, face_id: int | None, box: bytes | None) -> None:
        query = "INSERT INTO kept_out (token, face_id, box) VALUES (?, ?, ?)"
        self._connection.execute(query, (self._catalogue.token(digest), face_id, box))

    def let_back(self, digests: Iterable[bytes], face_ids: Iterable[int]) -> int:
        """Delete the records of removed contents or faces; returns how many there were.

        Their photos are embedded again by the next run.
        """
        faces = [face for face in face_ids if -(1 << 63) <= face < 1 << 63]
        tokens = {self._catalogue.token(digest): digest for digest in digests}
        marked = [
            row
            for face in faces
            for row in self._connection.execute("SELECT token FROM kept_out WHERE face_id = ?", (face,))
        ]
        count = sum(
            self._connection.execute("DELETE FROM kept_out WHERE token = ?", (token,)).rowcount for token in tokens
        )
        count += sum(
            self._connection.execute("DELETE FROM kept_out WHERE face_id = ?", (face,)).rowcount for face in faces
        )
        digests_again = [*tokens.values(), *self._digests_of({as_bytes(token) for (token,) in marked})]
        self._embed_again(digests_again)
        return count

    def let_all_back(self) -> int:
        """Delete the records of everything that was removed; returns how many there were."""
        marked = self._connection.execute("SELECT token FROM kept_out WHERE face_id IS NOT NULL").fetchall()
        self._embed_again(self._digests_of({as_bytes(token) for (token,) in marked}))
        return self._connection.execute("DELETE FROM kept_out").rowcount

    def _digests_of(self, tokens: set[bytes]) -> list[bytes]:
        """The digests of the photos whose contents have these tokens."""
        stored = self._connection.execute("SELECT DISTINCT digest FROM photos").fetchall() if tokens else []
        digests = [as_bytes(digest) for (digest,) in stored]
        return [digest for digest in digests if self._catalogue.token(digest) in tokens]

    def _embed_again(self, digests: Iterable[bytes]) -> None:
        self._connection.executemany("UPDATE photos SET again = 1 WHERE digest = ?", [(digest,) for digest in digests])
