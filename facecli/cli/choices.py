"""Values of options that are more than a word, checked by the code that checks them where they come from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import click

from facecli.config import BOUNDS, Bounds, read_face
from facecli.errors import UsageError

Value = TypeVar("Value")


class Checked(click.ParamType[Value], Generic[Value]):
    """What a function reads from the text of an option; its error becomes a usage error that names the option."""

    def __init__(self, name: str, read: Callable[[str], Value]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: str | Value, param: click.Parameter | None, ctx: click.Context | None) -> Value:
        """The value; a default is one already."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def number(option: str) -> Checked[float]:
    """A number as the option of this name takes it."""
    return Checked("number", BOUNDS[option].read)


FACE = Checked("largest|all|N", read_face)
MEGABYTES = Checked("number", Bounds(1, BOUNDS["max_memory"].most // 1_000_000).read)
