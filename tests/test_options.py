"""Options are checked by the same code from Python and on the command line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from facecli.config import (
    BOUNDS,
    Bounds,
    By,
    Combine,
    IndexOptions,
    Precision,
    ReadOptions,
    ScanOptions,
    SearchOptions,
    read_face,
    whole_number,
)
from facecli.errors import UsageError, quoted

if TYPE_CHECKING:
    from conftest import Shell

DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (SearchOptions, {"top": -1}),
        (SearchOptions, {"top": "5"}),
        (SearchOptions, {"top": 1.5}),
        (SearchOptions, {"top": math.nan}),
        (SearchOptions, {"top": 10**5000}),
        (SearchOptions, {"face": "0"}),
        (SearchOptions, {"face": "-1"}),
        (SearchOptions, {"face": "²"}),
        (SearchOptions, {"face": DIGITS}),
        (SearchOptions, {"by": "person"}),
        (SearchOptions, {"combine": ""}),
        (IndexOptions, {"min_score": math.nan}),
        (IndexOptions, {"min_score": 1.01}),
        (IndexOptions, {"det_size": 100}),
        (IndexOptions, {"det_size": 64000}),
        (IndexOptions, {"jobs": -1}),
        (IndexOptions, {"batch_size": 0}),
        (IndexOptions, {"wait_seconds": math.inf}),
        (IndexOptions, {"max_memory": 0}),
        (IndexOptions, {"precision": "some"}),
        (ReadOptions, {"max_pixels": 0}),
    ],
)
def test_what_does_harm_is_refused_in_one_line(kind: type[Any], given: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**given)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


def test_words_become_what_they_mean() -> None:
    options = SearchOptions(by="face", combine="any", face="007")  # type: ignore[arg-type]  # as one writes it without knowing the enums
    assert (options.by, options.combine, options.face) == (By.FACE, Combine.ANY, "7")
    assert isinstance(options.by, By)
    assert SearchOptions(threshold=0.5, face=2) == SearchOptions(threshold="0.5", face="2")  # type: ignore[arg-type]  # likewise
    assert IndexOptions(precision="fast").precision is Precision.FAST  # type: ignore[arg-type]


def test_one_pattern_is_one() -> None:
    assert ScanOptions(exclude="*.png").exclude == ("*.png",)  # type: ignore[arg-type]  # likewise


def test_every_bound_takes_its_ends_and_nothing_beyond() -> None:
    for bounds in BOUNDS.values():
        for value in (bounds.least, bounds.most):
            assert bounds.read(str(value)) == value
            assert bounds.hold(value)
        for text in (
            str(bounds.least - 1),
            str(bounds.most + 1),
            "nan",
            "inf",
            "-inf",
            "",
            "x",
            DIGITS,
            f"-{DIGITS}",
            "1e999",
        ):
            with pytest.raises(UsageError, match="not a"):
                bounds.read(text)


def test_the_defaults_are_within_their_bounds() -> None:
    assert IndexOptions().jobs == 0
    assert SearchOptions().top == 10
    assert Bounds(0, 1, 0).read("0.25") == 0.25


@pytest.mark.parametrize(
    ("text", "number"),
    [("12", 12), ("007", 7), ("0", 0), ("101", None), ("", None), ("-1", None), ("+1", None), ("1_0", None)],
)
def test_whole_numbers(text: str, number: int | None) -> None:
    assert whole_number(text, 100) == number
    assert whole_number(DIGITS, 10**6000) is None


def test_a_face_is_largest_all_or_a_number() -> None:
    assert [read_face(face) for face in ("largest", "all", "3")] == ["largest", "all", "3"]


def test_what_is_quoted_is_short() -> None:
    assert quoted("a.jpg") == "a.jpg"
    assert len(quoted(DIGITS)) < 100
    assert "digits" in quoted(10**5000)


@pytest.mark.parametrize(
    "arguments",
    [
        ("index", "--min-score", "nan", "."),
        ("index", "--min-score", "inf", "."),
        ("index", "--min-score", "-0.1", "."),
        ("index", "--wait", "nan", "."),
        ("index", "--jobs", DIGITS, "."),
        ("index", "--batch-size", DIGITS, "."),
        ("index", "--det-size", DIGITS, "."),
        ("index", "--det-size", "64000", "."),
        ("index", "--min-face", DIGITS, "."),
        ("index", "--max-pixels", DIGITS, "."),
        ("index", "--max-memory", DIGITS, "."),
        ("index", "-d", f"cuda:{DIGITS}", "."),
        ("check", "--repair", "--wait", "nan"),
        ("remove", "--wait", "inf", "face:1"),
        ("remove", f"face:{DIGITS}"),
        ("search", "-k", DIGITS, "a.jpg"),
        ("search", "--face", DIGITS, "a.jpg"),
        ("verify", "--face", DIGITS, "a.jpg", "b.jpg"),
        ("verify", "-t", "nan", "a.jpg", "b.jpg"),
        ("verify", "-t", DIGITS, "a.jpg", "b.jpg"),
        ("faces", "--face", DIGITS, "a.jpg"),
    ],
)
def test_numbers_that_an_option_does_not_take_are_one_line_each(shell: Shell, arguments: tuple[str, ...]) -> None:
    ran = shell(*arguments, code=2)
    error, *hint = ran.errors.splitlines()
    assert error.startswith("facecli: error: ")
    assert len(error) < 300
    assert "Error" not in error
    assert all(line.startswith("hint: ") and "--debug" not in line for line in hint)
    assert not (shell.work / ".facecli").exists()


def test_environment_variables_are_checked_as_options_are(shell: Shell) -> None:
    assert "FACECLI_JOBS" in shell("index", ".", env={"FACECLI_JOBS": DIGITS}, code=2).errors
