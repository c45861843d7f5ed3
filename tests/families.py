"""Indexes of made-up people: the embeddings of a person lie around a mean, those of different people are far apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from synthetic import make_photo, unit

from facecli.fingerprint import Fingerprint
from facecli.people.limits import DEFAULT_RECOGNISER
from facecli.store.records import Batch, EmbeddingKind
from facecli.store.writer import open_writer
from facecli.types import FloatArray, IndexedPhoto

DIMENSION = 512
KIND = EmbeddingKind(Fingerprint("made-up", "d" * 64, DEFAULT_RECOGNISER, DIMENSION), "free")
OTHER = EmbeddingKind(Fingerprint("made-up", "f" * 64, DEFAULT_RECOGNISER, DIMENSION), "free")
"""Another detector."""
FOREIGN = EmbeddingKind(Fingerprint("made-up", "d" * 64, "f" * 64, DIMENSION), "free")
"""A recogniser without calibration."""


def embedding(person: str, photo: str, likeness: float = 0.7) -> FloatArray:
    """An embedding, float32 (d,), with this cosine to others of the person, on average."""
    return np.sqrt(likeness) * _centre(person) + np.sqrt(1 - likeness) * _direction(person + photo)


def _centre(person: str) -> FloatArray:
    """The mean of a person; that of `ben when old` has a cosine of 0.45 to that of `ben`."""
    first, _, when = person.partition(" when ")
    return 0.45 * _direction(first) + 0.893 * _direction(person) if when else _direction(first)


def _direction(text: str) -> FloatArray:
    chance = np.random.default_rng(int.from_bytes(text.encode(), "little"))
    return unit(chance.standard_normal(DIMENSION).astype(np.float32))


def portrait(path: Path, people: Sequence[str], *, seed: str = "", likeness: float = 0.7) -> IndexedPhoto:
    """A photo that shows these people, one face each, large and sure."""
    photo = make_photo(path, len(people), seed=seed, dimension=DIMENSION)
    vectors = np.array([embedding(person, seed or path.name, likeness) for person in people], np.float32)
    sure = replace(photo.detections, scores=np.full(len(people), 0.9, np.float32))
    return replace(photo, embeddings=unit(vectors.reshape(-1, DIMENSION)), detections=sure)


def family(folder: Path, counts: dict[str, int]) -> list[IndexedPhoto]:
    """Portraits: so many of each person, ann-0.jpg, ann-1.jpg and so on."""
    return [portrait(folder / f"{who}-{n}.jpg", [who]) for who, count in counts.items() for n in range(count)]


def put(index: Path, photos: Iterable[IndexedPhoto], kind: EmbeddingKind = KIND) -> None:
    """Put photos into an index, which is made where there is none."""
    with open_writer(index, kind, create=True) as writer:
        writer.commit(Batch(photos=tuple(photos)))
        writer.finish()
