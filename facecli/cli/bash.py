"""Completion in bash, which cuts words at their colons, and of what is offered takes what follows the last one."""

from __future__ import annotations

from typing import Any

from click.shell_completion import BashComplete, CompletionItem, add_completion_class

COLON = ":"


class _Bash(BashComplete):
    """Words with colons are whole again, so that `--person person:An` is an option with one value."""

    _there = ""
    """The part of the last word that bash keeps."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        *whole, last = _joined([*args, incomplete])
        self._there = last[: len(last) - len(incomplete.removeprefix(COLON))]
        return whole, last

    def format_completion(self, item: CompletionItem[Any]) -> str:
        return f"{item.type},{str(item.value).removeprefix(self._there)}"


def _joined(words: list[str]) -> list[str]:
    """The words as they were typed: person, : and An were one."""
    whole = words[:1]
    for word in words[1:]:
        if word == COLON or whole[-1].endswith(COLON):
            whole[-1] += word
        else:
            whole.append(word)
    return whole


def join_at_colons() -> None:
    """Have click use this."""
    add_completion_class(_Bash)
