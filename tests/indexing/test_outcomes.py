"""What a worker tells about a photo is taken over value by value, or refused where it cannot be."""

from __future__ import annotations

import os

import numpy as np
import pytest
from msgspec.structs import replace
from synthetic import DIMENSION, make_photo

from facecli.indexing.outcomes import FileTask, Fresh, Recognised, Unaltered, read_result, task_record
from facecli.pipeline.messages import PhotoResult, ResultKind
from facecli.store.records import KnownFile
from facecli.types import PhotoFile, Skipped, SkipReason

PHOTO = make_photo("/album/a.jpg", 2)
KNOWN = KnownFile(7, PHOTO.file, PHOTO.digest)
RESULT = PhotoResult(
    ResultKind.FRESH,
    os.fsencode(PHOTO.file.path),
    PHOTO.file.size,
    PHOTO.file.mtime_ns,
    PHOTO.digest,
    PHOTO.width,
    PHOTO.height,
    PHOTO.detections.boxes.astype("<f4").tobytes(),
    PHOTO.detections.scores.astype("<f4").tobytes(),
    PHOTO.detections.landmarks.astype("<f4").tobytes(),
    PHOTO.detections.found_by.tobytes(),
    PHOTO.embeddings.astype("<f2").tobytes(),
)
NAN = np.full(DIMENSION, np.nan, "<f2").tobytes()


def test_a_photo_is_taken_over_to_the_bit() -> None:
    task = FileTask(replace(PHOTO.file, ctime_ns=5, inode=6), None)
    outcome = read_result(task, RESULT, DIMENSION)
    assert isinstance(outcome, Fresh)
    photo = outcome.photo
    assert (photo.file, photo.digest, photo.width, photo.height) == (task.file, PHOTO.digest, 640, 480)
    np.testing.assert_array_equal(photo.detections.boxes, PHOTO.detections.boxes)
    np.testing.assert_array_equal(photo.detections.scores, PHOTO.detections.scores)
    np.testing.assert_array_equal(photo.detections.landmarks, PHOTO.detections.landmarks)
    np.testing.assert_array_equal(photo.embeddings, PHOTO.embeddings.astype("<f2").astype(np.float32))


def test_a_file_that_has_changed_since_the_scan_is_known_as_it_was_read() -> None:
    task = FileTask(replace(PHOTO.file, ctime_ns=5, inode=6), None)
    for changed in (replace(RESULT, size=1), replace(RESULT, mtime_ns=1)):
        outcome = read_result(task, changed, DIMENSION)
        assert isinstance(outcome, Fresh)
        assert outcome.photo.file == PhotoFile(PHOTO.file.path, changed.size, changed.mtime_ns)


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": b"/album/b.jpg"},
        {"digest": b""},
        {"width": 0},
        {"height": -1},
        {"boxes": np.full(8, np.nan, "<f4").tobytes()},
        {"scores": np.array([0.5, np.inf], "<f4").tobytes()},
        {"landmarks": np.full(20, np.nan, "<f4").tobytes()},
        {"codes": RESULT.codes[: 2 * DIMENSION] + NAN},
        {"codes": RESULT.codes[:-2]},
        {"found_by": b"\0"},
        {"kind": ResultKind.RECOGNISED, "digest": b"short"},
        {"kind": ResultKind.SKIPPED, "reason": "moonshine"},
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_result(FileTask(PHOTO.file, KNOWN), replace(RESULT, **wrong), DIMENSION)


def test_only_what_is_known_can_be_unaltered() -> None:
    same = replace(RESULT, kind=ResultKind.UNALTERED)
    assert read_result(FileTask(PHOTO.file, KNOWN), same, DIMENSION) == Unaltered(PHOTO.file, KNOWN)
    skipped = KnownFile(None, PHOTO.file, PHOTO.digest)
    for known in (None, skipped, replace(KNOWN, digest=bytes(16))):
        with pytest.raises(ValueError, match="nothing is known"):
            read_result(FileTask(PHOTO.file, known), same, DIMENSION)
    assert [task_record(FileTask(PHOTO.file, known)).digest for known in (KNOWN, skipped, None)] == [
        PHOTO.digest,
        b"",
        b"",
    ]


def test_a_content_of_another_path_and_a_refusal() -> None:
    task = FileTask(PHOTO.file, None)
    recognised = replace(RESULT, kind=ResultKind.RECOGNISED)
    assert read_result(task, recognised, DIMENSION) == Recognised(PHOTO.file, PHOTO.digest, None)
    refused = replace(RESULT, kind=ResultKind.SKIPPED, reason="truncated", detail="cut", refused_by="Pillow")
    assert read_result(task, refused, DIMENSION) == Skipped(PHOTO.file, SkipReason.TRUNCATED, "cut", "Pillow")


def test_an_embedding_of_another_length_than_one_is_refused() -> None:
    for factor in (0.0, 0.5, 2.0):
        codes = (PHOTO.embeddings * np.float32(factor)).astype("<f2").tobytes()
        with pytest.raises(ValueError, match="not of unit length"):
            read_result(FileTask(PHOTO.file, None), replace(RESULT, codes=codes), DIMENSION)
