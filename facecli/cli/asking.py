"""Questions before something that cannot be taken back."""

from __future__ import annotations

import sys

import click


def can_ask() -> bool:
    """Whether somebody sits at a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agrees(question: str, *, yes: bool) -> bool:
    """Whether the user agrees; without asking, with --yes or where there is nobody to ask."""
    return yes or not can_ask() or click.confirm(question, err=True)
