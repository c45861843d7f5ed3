"""Delete rows, in every set, and collect the traces that they may leave; within the caller's transaction."""

from __future__ import annotations

from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_int
from facecli.store.errors import trusted
from facecli.store.people.erasing import erase_content
from facecli.store.write.residue import Residue


class Deletions:
    """Deletes photos, faces, skipped files and roots, and counts the faces.

    The tables' triggers delete a photo's faces and a face's embedding, turn its slot into a hole, and record that an
    erasure is pending.
    """

    def __init__(self, catalogue: Catalogue, traces: Residue) -> None:
        self._connection = catalogue.connection
        self._path = catalogue.path
        self._traces = traces
        self.faces = 0

    def drop_photo(self, photo_id: int) -> None:
        """Delete a photo with its faces; does nothing where there is no such photo."""
        row = self._connection.execute(
            "SELECT path, digest, set_id FROM photos WHERE photo_id = ?", (photo_id,)
        ).fetchone()
        if row is None:
            return
        path, digest, set_id = row
        query = "SELECT embedding FROM faces JOIN embeddings USING (face_id) WHERE photo_id = ?"
        blobs = [blob for (blob,) in self._connection.execute(query, (photo_id,))]
        self.faces += self._count("SELECT count(*) FROM faces WHERE photo_id = ?", photo_id)
        self._connection.execute("DELETE FROM photos WHERE photo_id = ?", (photo_id,))
        # EXISTS, not count: when a hundred thousand copies are dropped, each would count all the others.
        if self._count("SELECT EXISTS (SELECT 1 FROM photos WHERE digest = ? AND set_id = ?)", digest, set_id):
            blobs = []
        if not self._count("SELECT EXISTS (SELECT 1 FROM photos WHERE digest = ?)", digest):
            blobs.append(digest)
        with trusted(self._path):
            self._traces.add([as_bytes(path)], map(as_bytes, blobs))

    def drop_path_of(self, photo_id: int, *, forget_people: bool = False) -> None:
        """Delete a photo, and the one at its path in the other set of a migration.

        With `forget_people` also the decisions about its people, where no other photo has its content.
        """
        query = (
            "SELECT photo_id, digest FROM photos WHERE set_id IN (SELECT set_id FROM sets) "
            "AND path = (SELECT path FROM photos WHERE photo_id = ?)"
        )
        for standing, digest in self._connection.execute(query, (photo_id,)).fetchall():
            self.drop_photo(standing)
            if forget_people and not self._count("SELECT EXISTS (SELECT 1 FROM photos WHERE digest = ?)", digest):
                self.forget_people(digest)

    def forget_people(self, digest: bytes) -> None:
        """Delete the decisions about the faces of a content."""
        if erase_content(self._connection, digest):
            self.lost(blob=digest)

    def drop_face(self, face_id: int) -> None:
        """Delete a face."""
        blobs = self._connection.execute("SELECT embedding FROM embeddings WHERE face_id = ?", (face_id,)).fetchall()
        with trusted(self._path):
            self._traces.add(blobs=[as_bytes(blob) for (blob,) in blobs])
        self.faces += self._count("SELECT count(*) FROM faces WHERE face_id = ?", face_id)
        self._connection.execute("DELETE FROM faces WHERE face_id = ?", (face_id,))

    def drop_skip(self, stored: bytes) -> None:
        """Delete the record of a skipped file."""
        if self._connection.execute("DELETE FROM skips WHERE path = ?", (stored,)).rowcount:
            self.lost(stored)

    def drop_roots(self, low: bytes, high: bytes) -> None:
        """Delete the roots and mount points in a range of stored paths."""
        rows = self._connection.execute(
            "DELETE FROM roots WHERE path >= ? AND path < ? RETURNING path", (low, high)
        ).fetchall()
        for (path,) in rows:
            self.lost(as_bytes(path))

    def drop_root(self, stored: bytes) -> None:
        """Delete a root or mount point, but none below it."""
        if self._connection.execute("DELETE FROM roots WHERE path = ?", (stored,)).rowcount:
            self.lost(stored)

    def lost(self, path: bytes = b"", blob: bytes = b"") -> None:
        """Record a path or a blob that was deleted by other means than those above."""
        self._traces.add([path] if path else [], [blob] if blob else [])
        self._connection.execute("UPDATE state SET pending = 1")

    def _count(self, query: str, *parameters: object) -> int:
        return as_int(self._connection.execute(query, parameters).fetchone()[0])
