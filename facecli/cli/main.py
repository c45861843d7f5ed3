"""The command group, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from facecli import __version__
from facecli.cli.console import say_error
from facecli.cli.interrupt import end_at_second_signal
from facecli.errors import FacecliError

COMMANDS = {
    "index": "Find the faces in photos and keep them in an index.",
    "search": "Print the photos whose faces are nearest to a query's.",
    "verify": "Tell whether two photos show the same person.",
    "faces": "List the faces found in photos; needs no index.",
    "info": "Show what an index holds.",
    "check": "Prove that an index is whole, and mend it.",
    "remove": "Take photos or faces out of an index, for good.",
    "models": "List, pull and verify model packs.",
    "calibrate": "Measure the false-match rates of a model pack.",
    "doctor": "Check devices, libraries and models, and say what mends them.",
}
"""Each command's name and the line about it in `facecli --help`; its module is imported only when it runs."""


class LazyGroup(click.Group):
    """A group whose commands live one a module, imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"facecli.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a closed pipe ends it with 0, for which click would exit with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="facecli %(version)s")
def facecli() -> None:
    """Find every face in your photos and search them by likeness, on your own machine."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; every ending of the process goes through here."""
    _open_missing_streams()
    end_at_second_signal()
    if sys.platform == "win32":
        say_error("native Windows is not supported", "run facecli inside WSL")
        sys.exit(2)
    try:
        code = facecli.main(args=list(arguments) if arguments is not None else None, prog_name="facecli", standalone_mode=False)
        sys.stdout.flush()
        _leave(code if isinstance(code, int) else 0)
    except BaseException as error:  # noqa: BLE001 (the one boundary: every ending becomes a message and an exit code)
        _leave(_report(error))


def _open_missing_streams() -> None:
    """Put the null device where the process was started without stdin, stdout or stderr, lest a file of the index gets their number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 (open as long as the process runs)


def _report(error: BaseException) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(error, BrokenPipeError):
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 0
    if _debugging():
        import traceback  # noqa: PLC0415  # rare

        traceback.print_exception(error)
    if isinstance(error, ImportError):
        # Imported where something is broken already, so that nothing else pays for it.
        from facecli.vision.conflicts import explain_import_error  # noqa: PLC0415

        error = explain_import_error(error) or error
    if isinstance(error, FacecliError):
        say_error(str(error), error.hint)
        return error.exit_code
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return 130
    if isinstance(error, click.ClickException):
        say_error(_click_message(error), _click_hint(error))
        return 2
    say_error(
        f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
        "" if _debugging() else "run it again with --debug for the details",
    )
    return 2


def _click_message(error: click.ClickException) -> str:
    """The message of click in the form WHAT: WHERE."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    if isinstance(error, click.BadParameter | click.MissingParameter) or ": " not in message:
        where = context.command_path if context is not None else "facecli"
        return f"{message}: {where}" if ": " not in message else message
    return message


def _click_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else "facecli --help"


def _debugging() -> bool:
    return "--debug" in sys.argv or os.environ.get("FACECLI_DEBUG", "") not in ("", "0")


def _leave(code: int) -> NoReturn:
    """End the process at once.

    Everything that lasts is closed by whoever opened it. Taking the interpreter and the networks apart piece by piece would only cost
    a search a tenth of its time, and Python's own last flush would complain of a stdout whose reader has gone.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
