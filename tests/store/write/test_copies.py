"""A content with very many copies: the cost for each stays the same, even with a hundred thousand of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic import KIND, at_path, make_photo

from facecli.store.records import Batch
from facecli.store.writer import IndexWriter, open_writer


def steps_of(writer: IndexWriter, action: Callable[[], object]) -> int:
    """The hundreds of steps of SQLite's virtual machine that an action takes."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    for catalogue in (writer._writing, writer):
        catalogue.connection.set_progress_handler(count, 100)
    action()
    return steps


def prune(writer: IndexWriter) -> None:
    writer.prune([photo.photo_id for photo in writer.photos()])


def remove_the_face(writer: IndexWriter) -> None:
    writer.remove(writer.plan_removal([], [1]))


def find_one(writer: IndexWriter) -> None:
    assert writer.photo_of_content(make_photo("one").digest) is not None


@pytest.mark.parametrize(("action", "growth"), [(prune, 8), (remove_the_face, 8), (find_one, 1)])
def test_the_work_grows_no_faster_than_the_copies(
    tmp_path: Path, action: Callable[[IndexWriter], None], growth: int
) -> None:
    """Eight times as many copies take at most eight times the steps, with a third of tolerance."""
    steps = []
    for count in (200, 1600):
        photo = make_photo("one", 1)
        with open_writer(tmp_path / f"{count}", KIND, create=True) as writer:
            writer.commit(Batch(photos=tuple(at_path(photo, tmp_path / f"{number}.jpg") for number in range(count))))
            steps.append(steps_of(writer, lambda: action(writer)))
    assert steps[1] <= steps[0] * growth * 4 / 3 + 2
