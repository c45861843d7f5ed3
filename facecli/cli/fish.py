"""Completion in fish, whose script by click ends a name, and what a command says of itself, at the first comma."""

from __future__ import annotations

from click.shell_completion import FishComplete, add_completion_class


class _Fish(FishComplete):
    """What comes after the kind of a word is taken whole."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


def keep_commas() -> None:
    """Have click use this script."""
    add_completion_class(_Fish)
