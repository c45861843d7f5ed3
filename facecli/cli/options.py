"""Options that several commands share."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

import click
from msgspec import Struct

from facecli.cli.choices import FACE
from facecli.cli.completing import complete_devices, complete_models, complete_thresholds
from facecli.cli.console import Console
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
        """Whether to colour stdout: it is a terminal that knows colours, and NO_COLOR is not set."""
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")

    def console(self) -> Console:
        """What the command says on stderr while it works."""
        return Console(quiet=self.quiet, verbose=self.verbose, absolute=self.absolute)


class ExampleCommand(click.Command):
    """A command whose epilog is a list of examples, one per line, printed without wrapping."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write("\nExamples:\n" + "".join(f"  {line}\n" for line in self.epilog.strip().splitlines()))


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every command; the function gets a `Common` as its first argument."""

    @click.option(
        "-i",
        "--index",
        metavar="DIR",
        type=Name(completes="dir"),
        cls=NameOption,
        envvar="FACECLI_INDEX",
        show_envvar=True,
        help="The index; default the nearest .facecli in this directory or above.",
    )
    @click.option("-q", "--quiet", is_flag=True, envvar="FACECLI_QUIET", show_envvar=True, help="Print errors only.")
    @click.option(
        "-v", "--verbose", is_flag=True, envvar="FACECLI_VERBOSE", show_envvar=True, help="Print more messages."
    )
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
    """Raise UsageError if the working directory is gone; otherwise each relative path would fail in another way."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError(
            f"the working directory cannot be used ({error.strerror})", ".", hint="cd to an existing one"
        ) from error


def threshold_option(help_text: str) -> Callable[..., Any]:
    """Add --threshold."""
    return click.option(
        "-t",
        "--threshold",
        metavar="X|NAME",
        default="auto",
        show_default=True,
        shell_complete=complete_thresholds,
        help=help_text,
    )


def face_option(default: str, help_text: str) -> Callable[..., Any]:
    """Add --face."""
    return click.option(
        "--face", metavar="largest|all|N", type=FACE, default=default, show_default=True, help=help_text
    )


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --model and --device."""
    command = click.option(
        "-d",
        "--device",
        default="auto",
        metavar="NAME",
        envvar="FACECLI_DEVICE",
        show_envvar=True,
        help="auto, cpu, cuda, cuda:0,1 or another device.",
        shell_complete=complete_devices,
    )(command)
    return model_option()(command)


def model_option(
    help_text: str = "A model pack's name or directory.",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add --model."""
    return click.option(
        "-m",
        "--model",
        metavar="NAME|DIR",
        type=Name(),
        cls=NameOption,
        envvar="FACECLI_MODEL",
        show_envvar=True,
        help=help_text,
        shell_complete=complete_models,
    )
