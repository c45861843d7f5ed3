"""Random photos and faces, reproducible by seed, and small indexes of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from facecli.fingerprint import Fingerprint
from facecli.store.reader import IndexReader
from facecli.store.records import Batch, EmbeddingKind, KnownFile
from facecli.store.writer import open_writer
from facecli.types import Detections, FloatArray, IndexedPhoto, PhotoFile

DIMENSION = 64
KIND = EmbeddingKind(Fingerprint("buffalo_sc", "d" * 64, "e" * 64, DIMENSION), "non-commercial research only")
OTHER_KIND = EmbeddingKind(Fingerprint("other", "f" * 64, "a" * 64, DIMENSION), "free")


def unit(numbers: FloatArray) -> FloatArray:
    """Scale rows of numbers (…, d) to unit length."""
    return numbers / np.linalg.norm(numbers, axis=-1, keepdims=True)


def make_photo(path: str | Path, faces: int = 3, *, seed: str = "", dimension: int = DIMENSION) -> IndexedPhoto:
    """A photo whose content (faces, digest, size) follows from `seed`, else from its file's name."""
    digest = hashlib.blake2b((seed or Path(path).name).encode("utf-8", "surrogateescape"), digest_size=16).digest()
    chance = np.random.default_rng(int.from_bytes(digest, "little"))
    corner = np.arange(faces, dtype=np.float32)[:, None] * 100 + chance.uniform(0, 20, (faces, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + chance.uniform(40, 70, (faces, 2)).astype(np.float32)], axis=1)
    found = Detections(
        boxes,
        chance.uniform(0.5, 1, faces).astype(np.float32),
        chance.uniform(0, 500, (faces, 5, 2)).astype(np.float32),
        np.zeros(faces, np.uint8),
    )
    embeddings = unit(chance.standard_normal((faces, dimension)).astype(np.float32))
    return IndexedPhoto(PhotoFile(str(path), 1000 + digest[0], 10**18 + digest[1]), digest, 640, 480, found, embeddings)


def make_photos(folder: Path, count: int, faces: int = 3) -> list[IndexedPhoto]:
    """Photos 0000.jpg, 0001.jpg, … of a folder."""
    return [make_photo(folder / f"{i:04}.jpg", faces) for i in range(count)]


def at_path(photo: IndexedPhoto, path: str | Path) -> IndexedPhoto:
    """The same content under another path."""
    return replace(photo, file=replace(photo.file, path=str(path)))


def write(index: Path, photos: Sequence[IndexedPhoto], kind: EmbeddingKind = KIND) -> None:
    """Put photos into an index in one batch."""
    with open_writer(index, kind, create=True) as writer:
        writer.commit(Batch(photos=tuple(photos)))
        writer.finish()


def ids_of(reader: IndexReader, path: str | Path) -> list[int]:
    """The face ids of the photo at a path."""
    known = reader.at(str(path))
    assert known is not None
    assert known.photo_id is not None
    return [face.face_id for face in reader.faces_of(known.photo_id)]


def contents(reader: IndexReader) -> list[tuple[object, ...]]:
    """All data of the photos and faces of an index, bit by bit."""
    return [
        (
            photo,
            [
                (f.face_id, f.box, f.score, f.landmarks.tobytes(), f.embedding.tobytes())
                for f in reader.faces_of(photo.photo_id)
            ],
        )
        for photo in reader.photos()
    ]


def photo_id(reader: IndexReader, path: str | Path) -> int:
    """The id of the photo at a path."""
    known = reader.at(str(path))
    assert known is not None
    assert known.photo_id is not None
    return known.photo_id


def known_under(reader: IndexReader, root: str | Path) -> Iterator[KnownFile]:
    """The records at and below a path, each in the state in which it is when it is reached."""
    for path, *_ in reader.stats_under(str(root)):
        if (known := reader.at(os.fsdecode(path))) is not None:
            yield known
