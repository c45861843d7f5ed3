"""Names of people: what may be one, and when two are the same."""

from __future__ import annotations

import unicodedata

from facecli.errors import UsageError, quoted
from facecli.wording import is_shown, without_joiners

LONGEST_NAME = 200
"""In characters."""
PREFIXES = ("face:", "person:")


def read_name(text: str) -> str:
    """A name as it is stored: without spaces around it, in Unicode's normal form C; raises UsageError on what is none.

    A number is an id of a person, and no name.
    """
    if not isinstance(text, str):
        raise UsageError("a name is a text", quoted(text))
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise UsageError("an empty name", "the name of a person")
    if not is_name(name):
        raise UsageError(
            "not a name for a person",
            quoted(name.encode("utf-8", "replace").decode()),
            hint=f"a name has up to {LONGEST_NAME} printable characters, is no number, and begins with none of "
            + ", ".join(PREFIXES),
        )
    return name


def is_name(text: str) -> bool:
    """Whether a text is a name as `read_name` returns it."""
    return (
        0 < len(text) <= LONGEST_NAME
        and is_shown(text)
        and text == text.strip()
        and not text.isdecimal()
        and not text.lower().startswith(PREFIXES)
    )


def same_name(text: str) -> str:
    """What two names have in common that count as the same: upper and lower case, and joiners, are not told apart."""
    plain = without_joiners(" ".join(unicodedata.normalize("NFC", text).split()))
    return unicodedata.normalize("NFC", plain.casefold())
