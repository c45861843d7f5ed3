"""The formats of stdout: their options, the choice of one, and its writer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from facecli.cli.context import path_style, terminal_of
from facecli.errors import UsageError

if TYPE_CHECKING:
    from facecli.cli.options import Common
    from facecli.cli.streams import Results
    from facecli.output.formats import ListWriter, OutputFormat
    from facecli.output.layout import Listed, RowLayout

FLAGS = {
    "paths": click.option("-l", "--paths", is_flag=True, help="Print paths only, each once."),
    "print0": click.option("-0", "--print0", is_flag=True, help="Print paths only, each terminated by NUL."),
    "json": click.option("--json", is_flag=True, help="Print JSON Lines."),
    "csv": click.option("--csv", is_flag=True, help="Print CSV with a header."),
}


def format_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options of some formats, in order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            command = FLAGS[name](command)
        return command

    return add


def choose_format(asked: Mapping[str, bool]) -> OutputFormat:
    """The format of the one option given; else a table on a terminal, tab-separated rows in a pipe.

    Raises UsageError where several formats are asked for.
    """
    from facecli.output.formats import OutputFormat  # noqa: PLC0415 (not for --help)

    given = [name for name in FLAGS if asked.get(name)]
    if given == ["paths", "print0"]:
        return OutputFormat.PRINT0
    if len(given) > 1:
        raise UsageError("only one format can be printed", " ".join(f"--{name}" for name in given))
    if given:
        return OutputFormat(given[0])
    return OutputFormat.TABLE if sys.stdout.isatty() else OutputFormat.TSV


def list_writer(form: OutputFormat, out: Results, layout: RowLayout[Listed], common: Common) -> ListWriter[Listed]:
    """The writer of a format on stdout."""
    from facecli.output.formats import OutputFormat, open_list_writer  # noqa: PLC0415 (not for --help)

    terminal = terminal_of(common) if form is OutputFormat.TABLE else None
    return open_list_writer(form, out.drawn if terminal else out, layout, path_style(common), terminal)
