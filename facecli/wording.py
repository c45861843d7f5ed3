"""Counts with their nouns, for messages; and what can be shown of a text."""

from __future__ import annotations

import re
import shlex

_JOINER = re.compile("(?<=[^\0-\x7f\u200c\u200d])[\u200c\u200d](?=[^\0-\x7f\u200c\u200d])")
"""A zero-width joiner or non-joiner between two letters, as Persian and Indian names and emoji have it; not between
Latin letters, where it would only hide."""


def without_joiners(text: str) -> str:
    """A text without the characters between letters that are only seen by how these look."""
    return text if text.isascii() else _JOINER.sub("", text)


def is_shown(text: str) -> bool:
    """Whether a text has nothing that a terminal would obey, or that would not be seen."""
    return text.isprintable() or without_joiners(text).isprintable()


def command_on(index: object, command: str) -> str:
    """A command as typed for an index that it would not find by itself, by the index's directory."""
    return f"facecli {command} -i {shlex.quote(str(index))}"


def counted(count: int, noun: str) -> str:
    """Format a count with its noun: 1 photo, 2,000 photos, 2 queries."""
    return f"{count:,} {noun if count == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """The plural of an English noun; the only irregular one is person."""
    if noun.endswith("person"):
        return noun.removesuffix("person") + "people"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")
