"""The wording of counts."""

from __future__ import annotations

import pytest

from facecli.wording import counted, plural


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (1, "photo", "1 photo"),
        (0, "photo", "0 photos"),
        (2, "query", "2 queries"),
        (1, "query", "1 query"),
        (2000, "face", "2,000 faces"),
    ],
)
def test_a_count_has_its_noun_in_the_right_number(count: int, noun: str, said: str) -> None:
    assert counted(count, noun) == said


@pytest.mark.parametrize(
    ("noun", "several"), [("copy", "copies"), ("day", "days"), ("match", "matches"), ("box", "boxes"), ("job", "jobs")]
)
def test_a_noun_forms_its_plural(noun: str, several: str) -> None:
    assert plural(noun) == several
