"""Option types for click that use the same checks as the Python interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import click

from facecli.config import BOUNDS, Bounds, read_face
from facecli.errors import UsageError

Value = TypeVar("Value")


class WrongValue(click.BadParameter):
    """A wrong value of an option, with the way out that the check knows."""

    def __init__(self, error: UsageError, param: click.Parameter | None, ctx: click.Context | None) -> None:
        super().__init__(str(error), ctx, param)
        self.hint = error.hint


class Checked(click.ParamType[Value], Generic[Value]):
    """An option that a function parses; its UsageError becomes an error of click that names the option."""

    def __init__(self, name: str, read: Callable[[str], Value]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: str | Value, param: click.Parameter | None, ctx: click.Context | None) -> Value:
        """Parse the text of an option; a default is returned as it is."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except UsageError as error:
            raise WrongValue(error, param, ctx) from error


def number(option: str) -> Checked[float]:
    """The type of a numeric option, with the limits of its name in BOUNDS."""
    return Checked("number", BOUNDS[option].read)


FACE = Checked("largest|all|N", read_face)
MEGABYTES = Checked("number", Bounds(1, BOUNDS["max_memory"].most // 1_000_000).read)
