"""Claims on contents: one worker processes a content, the others wait and always get its outcome."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facecli.pipeline.in_flight import Claims
from facecli.types import Detections, IndexedPhoto, PhotoFile, Skipped, SkipReason

DIGEST = b"d" * 16
FILE = PhotoFile("/a.jpg", 1, 1)
FOUND = IndexedPhoto(FILE, DIGEST, 10, 10, Detections.none(), np.zeros((0, 0), np.float32))


def test_the_first_looks_and_the_others_get_what_it_finds() -> None:
    claims = Claims()
    claim, is_first = claims.claim(DIGEST)
    assert is_first
    later = [claims.claim(DIGEST) for _ in range(3)]
    assert [other is claim and not first for other, first in later] == [True] * 3
    with ThreadPoolExecutor(3) as waiting:
        outcomes = [waiting.submit(other.outcome) for other, _ in later]
        claim.settle(FOUND)
        assert [outcome.result(10) is FOUND for outcome in outcomes] == [True] * 3


def test_a_claim_that_is_in_flight_is_not_forgotten() -> None:
    """The end of an earlier claim on a content must not affect a later one in progress."""
    claims = Claims(recent=0)
    first, _ = claims.claim(DIGEST)
    first.settle(FOUND)
    first.forget()
    second, is_first = claims.claim(DIGEST)
    assert is_first
    first.forget()
    second.forget()
    waiting, is_first = claims.claim(DIGEST)
    assert (waiting is second, is_first) == (True, False)
    second.settle(FOUND)
    assert waiting.outcome() is FOUND


def test_later_copies_of_recent_contents_get_what_was_found() -> None:
    claims = Claims(recent=2)
    for number in range(3):
        claim, _ = claims.claim(bytes([number]) * 16)
        claim.settle(FOUND)
        claim.forget()
    assert [claims.claim(bytes([number]) * 16)[1] for number in (2, 1, 0)] == [False, False, True]


@pytest.mark.parametrize("outcome", [Skipped(FILE, SkipReason.UNREADABLE, "broken"), ValueError("a driver")])
def test_what_went_wrong_reaches_those_who_wait_and_is_tried_again_by_those_who_come_later(
    outcome: Skipped | ValueError,
) -> None:
    claims = Claims()
    claim, _ = claims.claim(DIGEST)
    waiting, _ = claims.claim(DIGEST)
    claim.settle(outcome)
    if isinstance(outcome, ValueError):
        with pytest.raises(ValueError, match="a driver"):
            waiting.outcome()
    else:
        assert waiting.outcome() is outcome
    assert claims.claim(DIGEST)[1]
