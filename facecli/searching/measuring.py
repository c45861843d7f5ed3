"""Measure how often a recogniser confuses people, from photos sorted into one folder per person."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import closing

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.config import ReadOptions, ScanOptions
from facecli.errors import PhotoError, UsageError
from facecli.photos.scan import Scan
from facecli.reporting import counting
from facecli.searching.opening import ModelSource
from facecli.searching.query_parser import PhotoQuery, refusal
from facecli.searching.reading import ReadingOptions, read_photos
from facecli.store.short_codes import encode, estimate
from facecli.thresholds import Calibration, Point
from facecli.types import FloatArray, PhotoFile
from facecli.wording import counted

STEP = 0.02
THRESHOLDS = np.round(np.arange(-1, 1 + STEP / 2, STEP), 2)
MOST_FALSE = 0.05
"""Thresholds with a higher false-match rate are left out."""
LEAST_FALSE = 3
"""The fewest false matches from which a rate is computed; fewer may be chance."""
LEAST_MATCHES = 100_000
"""The fewest matches of one person from which the error of estimates by short codes is computed."""
BLOCK = 1024
"""Rows compared at once."""


class Sample(Struct, frozen=True, eq=False):
    """The faces to compare."""

    embeddings: FloatArray
    """float32 (n, d), unit length: the largest face of each photo."""
    people: NDArray[np.int32]
    """int32 (n,): the number of the person of each face."""
    failures: tuple[PhotoError, ...]


def read_people(directory: str, source: ModelSource) -> Sample:
    """The faces of all photos below the folders of `directory`; raises UsageError if it has no folders."""
    queries, people, failures = _list_photos(directory)
    embeddings, whose = [], []
    report = source.report
    reading = closing(read_photos(source, queries, ReadingOptions(ReadOptions())))
    with counting(report, "photos", len(queries)), reading as photos:
        for person, photo in zip(people, photos, strict=True):
            if isinstance(photo, PhotoError):
                failures.append(photo)
            elif photo.faces:
                embeddings.append(photo.faces[0].embedding)
                whose.append(person)
            else:
                report.warn(f"{photo.query}: no face found")
            report.advance(1, faces=len(whose))
    stacked = np.stack(embeddings) if embeddings else np.zeros((0, source.pack.dimension), np.float32)
    return Sample(stacked, np.array(whose, np.int32), tuple(failures))


def _list_photos(directory: str) -> tuple[list[PhotoQuery], list[int], list[PhotoError]]:
    """The photos in each person's folder, the number of each photo's person, and the photos that cannot be read."""
    try:
        folders = sorted(
            entry.path for entry in os.scandir(directory) if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError as error:
        raise UsageError(f"the directory cannot be read ({error.strerror})", directory) from error
    queries, people, failures = [], [], []
    for person, folder in enumerate(folders):
        for found in Scan([os.path.abspath(folder)], ScanOptions()):
            if isinstance(found, PhotoFile):
                queries.append(PhotoQuery(found.path, found.path))
                people.append(person)
            else:
                failures.append(refusal(found, found.file.path))
    return queries, people, failures


def measure(sample: Sample, directory: str) -> Calibration:
    """Measure the false-match and true-match rates over all pairs of faces, at thresholds in steps of 0.02.

    Raises UsageError if there are too few faces.
    """
    false, true = np.zeros(len(THRESHOLDS), np.int64), np.zeros(len(THRESHOLDS), np.int64)
    pairs = np.zeros(2, np.int64)
    for similarity, same in _pairs(sample):
        pairs += (int((~same).sum()), int(same.sum()))
        false += _at_or_over(similarity[~same])
        true += _at_or_over(similarity[same])
    if not pairs.all():
        raise UsageError(
            "too few faces to compare: two people are needed, one of them in two photos",
            directory,
            hint="one folder per person, with several photos in each",
        )
    kept = np.flatnonzero((false >= LEAST_FALSE) & (false <= MOST_FALSE * pairs[0]))
    if not len(kept):
        raise UsageError(
            f"too few faces to measure a rate: {counted(int(pairs[0]), 'pair')} of different people",
            directory,
            hint="more people, more photos",
        )
    points = tuple(Point(float(THRESHOLDS[i]), float(false[i] / pairs[0]), float(true[i] / pairs[1])) for i in kept)
    people = len(np.unique(sample.people))
    data = f"{len(sample.people):,} faces of {people} people, measured by facecli calibrate"
    calibration = Calibration(points, people, int(pairs[0]), data)
    if true[kept[0]] < LEAST_MATCHES:
        return calibration
    return replace(calibration, estimate_error=_estimate_error(sample, points[0].threshold))


def _estimate_error(sample: Sample, threshold: float) -> float:
    """By how much estimates by short codes lie below the similarities of one person's faces over a threshold, at most.

    Rounded up to hundredths. Both faces of a pair serve as the query.
    """
    codes, most = encode(sample.embeddings.astype("<f2")), 0.0
    for start in range(0, len(sample.people), BLOCK):
        part = slice(start, start + BLOCK)
        similarity = sample.embeddings[part] @ sample.embeddings.T
        chosen = (similarity >= threshold) & (sample.people[part, None] == sample.people[None, :])
        low = similarity - estimate(sample.embeddings[part], codes)
        most = max(most, float(low[chosen].max(initial=0)))
    return math.ceil(most * 100) / 100


def _pairs(sample: Sample) -> Iterator[tuple[FloatArray, NDArray[np.bool_]]]:
    """The similarities of all pairs of faces, and whether each is of one person; each pair once, in blocks."""
    count = len(sample.people)
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        later = rows[:, None] < np.arange(count)[None, :]
        similarity = sample.embeddings[rows] @ sample.embeddings.T
        yield similarity[later], (sample.people[rows, None] == sample.people[None, :])[later]


def _at_or_over(similarity: FloatArray) -> NDArray[np.int64]:
    """The number of similarities at or above each of THRESHOLDS: int64."""
    return len(similarity) - np.searchsorted(np.sort(similarity), THRESHOLDS.astype(np.float32), side="left")
