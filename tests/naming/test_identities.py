"""Ids are handed on to the groups that share the most faces."""

from __future__ import annotations

import pytest

from facecli.naming.identities import hand_on
from facecli.store.people.names import is_name, read_name, same_name


@pytest.mark.parametrize(
    ("groups", "earlier", "owners", "ids"),
    [
        ([[1, 2], [3]], {}, [0, 0], [8, 9]),
        ([[1, 2, 3]], {1: 4, 2: 5, 3: 5}, [0], [5]),
        ([[1, 2], [3, 4, 5]], {1: 4, 2: 4, 3: 4, 4: 4, 5: 4}, [0, 0], [8, 4]),
        ([[1], [2]], {1: 5, 2: 4}, [0, 0], [5, 4]),
        ([[1, 2, 3], [4]], {1: 5, 2: 5, 4: 5}, [6, 0], [6, 5]),
        ([[1, 2], [3]], {1: 5, 2: 5, 3: 6}, [0, 5], [8, 5]),
        ([[1, 2]], {1: 6, 2: 5}, [0], [5]),
    ],
)
def test_hand_on(groups: list[list[int]], earlier: dict[int, int], owners: list[int], ids: list[int]) -> None:
    assert hand_on(groups, earlier, owners, 7) == ids


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "12",
        "٣",
        "face:1",
        "Person:x",
        "a\nb\x00",
        "x" * 201,
        "a\u202eb",
        "a\ud800",
        "An\u200cna",
        "نیک\u200c\u200cنوش",
        "نیک\u200c",
    ],
)
def test_what_is_no_name(text: str) -> None:
    assert not is_name(text)


def test_names_are_compared_without_case_and_spaces() -> None:
    assert read_name("  A\u0308nn   O'Neil ") == "Änn O'Neil"
    assert same_name("STRASSE  ") == same_name("straße")


@pytest.mark.parametrize("text", ["نیک\u200cنوش", "👩\u200d👧", "ක්\u200dෂ"])
def test_a_name_may_have_joiners_and_is_the_same_without(text: str) -> None:
    assert is_name(text)
    assert read_name(text) == text
    assert same_name(text) == same_name(text.replace("\u200c", "").replace("\u200d", ""))
