"""Queries of the catalogue: photos, faces, and what was removed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from facecli.errors import QueryError
from facecli.store.catalog.rows import (
    DIGEST_SIZE,
    are_unit,
    as_bytes,
    as_float,
    as_int,
    read_box,
    read_boxes,
    read_capture,
    read_codes,
    read_landmarks,
)
from facecli.store.catalog.schema import PEOPLE_FROM
from facecli.store.catalog.sets import Row
from facecli.store.catalog.whole_rows import WholeRows
from facecli.store.errors import trusted
from facecli.store.records import KeptOut, StoredFace, StoredPhoto
from facecli.types import FloatArray, FoundBy, PhotoFile

FACE_PAGE = 1024
PHOTO_PAGE = 256
_FACE = "f.face_id, p.path, f.box, f.score, f.found_by, f.landmarks, e.embedding, f.photo_id"
_FACES = f"SELECT {_FACE} FROM faces f JOIN photos p USING (photo_id) JOIN embeddings e USING (face_id)"


class Catalogue(WholeRows):
    """All queries that a reader needs."""

    @property
    def photo_columns(self) -> str:
        """The columns of a StoredPhoto, for a table `photos p`."""
        faces = "(SELECT count(*) FROM faces f WHERE f.photo_id = p.photo_id)"
        return f"path, photo_id, size, mtime_ns, digest, width, height, {faces}, {self.capture_columns}"

    @property
    def person_column(self) -> str:
        """The id of the person whose face it is, for a table `faces f`."""
        person = "(SELECT m.person_id FROM members m WHERE m.face_id = f.face_id)"
        return person if self.version >= PEOPLE_FROM else "NULL"

    @property
    def _photos(self) -> str:
        return f"SELECT {self.photo_columns} FROM photos p"

    def photos(self, root: str = "/") -> Iterator[StoredPhoto]:
        """The photos at and below a path, ascending by path."""
        yield from self.photos_of(f"{self._photos} WHERE set_id = ? AND path >= ? AND path < ?", (self.set_id,), root)

    def photo_paths(self, root: str) -> Iterator[str]:
        """The paths of the photos at and below a path, in both sets during a migration."""
        query = "SELECT DISTINCT path FROM photos WHERE set_id IN (SELECT set_id FROM sets) AND path >= ? AND path < ?"
        for low, high in self.paths.ranges(root):
            with trusted(self.path):
                yield from (self.paths.unpack(as_bytes(path)) for (path,) in self._pages(query, (), low, high))

    def photos_of(self, query: str, parameters: tuple[object, ...], root: str = "/") -> Iterator[StoredPhoto]:
        """The photos that a query for `photo_columns` selects; its last two parameters are a range of paths."""
        for low, high in self.paths.ranges(root):
            yield from map(self._photo, self._pages(query, parameters, low, high))

    def photo(self, photo_id: int) -> StoredPhoto | None:
        """One photo, of any set; None where there is none."""
        rows = self.rows(f"{self._photos} WHERE photo_id = ?", (photo_id,))
        return self._photo(rows[0]) if rows else None

    def last_photo_id(self) -> int:
        """The highest photo id; photos added later get higher ones."""
        return self.number("SELECT max(photo_id) FROM photos")

    def photo_with(self, face_id: int) -> StoredPhoto:
        """The photo that shows a face; raises QueryError where there is no such face."""
        photo = self.photo(self.photo_of(face_id))
        if photo is None:
            raise QueryError("no such face in the index", f"face:{face_id}")
        return photo

    def _photo(self, row: Row) -> StoredPhoto:
        path, photo_id, size, mtime_ns, digest, width, height, faces, *capture = row
        with trusted(self.path):
            file = PhotoFile(self.paths.unpack(as_bytes(path)), as_int(size), as_int(mtime_ns))
            if len(as_bytes(digest)) != DIGEST_SIZE:
                raise ValueError("not a digest")
            shape = as_int(width), as_int(height), as_int(faces)
            return StoredPhoto(as_int(photo_id), file, as_bytes(digest), *shape, read_capture(capture))

    def photo_of(self, face_id: int) -> int:
        """The id of a face's photo; 0 where there is no such face."""
        return self.number("SELECT photo_id FROM faces WHERE face_id = ?", (face_id,))

    def face(self, face_id: int) -> StoredFace:
        """One face; raises QueryError where there is none."""
        known = -(1 << 63) <= face_id < 1 << 63
        rows = self.rows(f"{_FACES} WHERE f.face_id = ? AND f.set_id = ?", (face_id, self.set_id)) if known else []
        if not rows:
            raise QueryError("no such face in the index", f"face:{face_id}")
        return self._face(rows[0])

    def faces_of(self, photo_id: int) -> list[StoredFace]:
        """The faces of a photo, ascending by id."""
        return [self._face(row) for row in self.rows(f"{_FACES} WHERE f.photo_id = ? ORDER BY f.face_id", (photo_id,))]

    def faces(self) -> Iterator[StoredFace]:
        """All faces, ascending by id, read one page at a time."""
        after = 0
        while page := self.rows(
            f"{_FACES} WHERE f.set_id = ? AND f.face_id > ? ORDER BY f.face_id LIMIT {FACE_PAGE}", (self.set_id, after)
        ):
            yield from map(self._face, page)
            after = as_int(page[-1][0])

    def photos_with_faces(self, root: str = "/") -> Iterator[tuple[StoredPhoto, list[StoredFace]]]:
        """The photos at and below a path, ascending by path, with their faces, ascending by id; read in pages."""
        photos = self.photos(root)
        while page := list(itertools.islice(photos, PHOTO_PAGE)):
            faces: dict[int, list[StoredFace]] = {photo.photo_id: [] for photo in page}
            for row in itertools.chain.from_iterable(
                self.rows_in(f"{_FACES} WHERE f.photo_id IN ? ORDER BY f.face_id", list(faces))
            ):
                faces[as_int(row[-1])].append(self._face(row))
            yield from ((photo, faces[photo.photo_id]) for photo in page)

    def _face(self, row: Row) -> StoredFace:
        face_id, path, box, score, found_by, landmarks, embedding, _ = row
        with trusted(self.path):
            codes = read_codes([as_bytes(embedding)], len(as_bytes(embedding)) // 2)
            marks = read_landmarks(as_bytes(landmarks))
            if not are_unit(codes).all():
                raise ValueError("not an embedding")
            numbers: FloatArray = codes[0].astype("float32")
            return StoredFace(
                as_int(face_id),
                self.paths.unpack(as_bytes(path)),
                read_box(as_bytes(box)),
                as_float(score),
                FoundBy(as_int(found_by)),
                marks,
                numbers,
            )

    def token(self, digest: bytes) -> bytes:
        """The keyed hash (BLAKE2b, 16 bytes) under which a removed content is recorded.

        Each index has its own key, stored in it. So the records of two indexes cannot be compared, but anyone who has
        the index can check whether a given content was removed from it.
        """
        import hashlib  # noqa: PLC0415  # it loads OpenSSL, and searches do not hash

        return hashlib.blake2b(digest, key=self.removal_key, digest_size=16).digest()

    @property
    def removal_key(self) -> bytes:
        """The key of the index for the records of removed contents."""
        if not self._key:
            rows = self.rows("SELECT keep_out_key FROM state")
            with trusted(self.path):
                self._key = as_bytes(rows[0][0])[:64]
        return self._key

    def kept_out(self, digest: bytes) -> KeptOut:
        """What was removed of this content, and stays removed."""
        rows = self.rows("SELECT box FROM kept_out WHERE token = ?", (self.token(digest),))
        with trusted(self.path):
            boxes = read_boxes([as_bytes(box) for (box,) in rows if box is not None])
        return KeptOut(any(box is None for (box,) in rows), boxes)

    def kept_out_faces(self, face_ids: Sequence[int]) -> int:
        """How many of these faces were removed and stay removed."""
        known = [face_id for face_id in face_ids if face_id < 1 << 63]
        return sum(self.number("SELECT count(*) FROM kept_out WHERE face_id = ?", (face_id,)) for face_id in known)
