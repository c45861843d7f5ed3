"""Options that several commands share."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from msgspec import Struct

from facecli.cli.names import Name, NameOption
from facecli.errors import UsageError


class Common(Struct, frozen=True):
    """The options that every command takes."""

    index: str | None
    quiet: bool
    verbose: bool
    absolute: bool

    @property
    def colour(self) -> bool:
        """Whether stdout may be coloured: a terminal, and NO_COLOR is not set."""
        return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


class ExampleCommand(click.Command):
    """A command whose epilog is a list of examples, one a line, shown as they are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write("\nExamples:\n" + "".join(f"  {line}\n" for line in self.epilog.strip().splitlines()))


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command; the function gets a `Common` as its first argument."""

    @click.option(
        "-i",
        "--index",
        metavar="DIR",
        type=Name(),
        cls=NameOption,
        envvar="FACECLI_INDEX",
        show_envvar=True,
        help="The index; else the nearest .facecli at or above.",
    )
    @click.option(
        "-q", "--quiet", is_flag=True, envvar="FACECLI_QUIET", show_envvar=True, help="Say nothing but errors."
    )
    @click.option("-v", "--verbose", is_flag=True, envvar="FACECLI_VERBOSE", show_envvar=True, help="Say more.")
    @click.option(
        "--debug", is_flag=True, envvar="FACECLI_DEBUG", show_envvar=True, expose_value=False, help="Show tracebacks."
    )
    @click.option("--absolute", is_flag=True, envvar="FACECLI_ABSOLUTE", show_envvar=True, help="Print absolute paths.")
    @functools.wraps(command)
    def wrapped(index: str | None, quiet: bool, verbose: bool, absolute: bool, **options: Any) -> Any:  # noqa: FBT001 (click calls it by name)
        _ask_working_directory()
        return command(Common(index, quiet, verbose, absolute), **options)

    return wrapped


def _ask_working_directory() -> None:
    """Raise UsageError where the working directory is gone: every relative name would fail in a way of its own."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be used ({error.strerror})", ".", hint="cd to one that is there"
        ) from error


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --model and --device."""
    command = click.option(
        "-d",
        "--device",
        default="auto",
        metavar="NAME",
        envvar="FACECLI_DEVICE",
        show_envvar=True,
        help="auto, cpu, cuda, cuda:0,1 or another device's name.",
    )(command)
    return click.option(
        "-m",
        "--model",
        metavar="NAME|DIR",
        type=Name(),
        cls=NameOption,
        envvar="FACECLI_MODEL",
        show_envvar=True,
        help="A pack's name, or a directory that holds one.",
    )(command)
