"""Where every command begins and ends: the streams, Ctrl-C, and the one place where errors become messages and exit codes.

Until Ctrl-C is heard nothing is imported that Python has not loaded itself, `__future__` neither.
"""

import _signal as signal  # type: ignore[import-not-found]  # built in; the module signal makes enums first, which Ctrl-C may interrupt
import os
import sys

TYPE_CHECKING = False  # as in typing, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType
    from typing import NoReturn

    import click

    from facecli.cli.streams import Stdout

FAILED = 2
INTERRUPTED: int = 128 + signal.SIGINT


class Interruption:
    """Ctrl-C from here on: while facecli is imported it ends the process, later it is a KeyboardInterrupt once, and then the end."""

    def __init__(self) -> None:
        self.came = False
        # Where a shell or nohup has it ignored, it stays ignored.
        self._heard = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
        if self._heard:
            signal.signal(signal.SIGINT, _end_at_once)
            sys.unraisablehook = _not_in_vain

    def become_an_exception(self) -> None:
        """Let a command clean up after itself."""
        if self._heard:
            signal.signal(signal.SIGINT, self._raise)

    def _raise(self, number: int, _frame: "FrameType | None") -> None:
        self.came = True
        signal.signal(number, _end_at_once)
        raise KeyboardInterrupt


def _end_at_once(number: int, _frame: "FrameType | None") -> None:
    os._exit(128 + number)


def _not_in_vain(unraisable: "sys.UnraisableHookArgs") -> None:
    """A KeyboardInterrupt that met code whose exceptions Python only prints ends the process all the same."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        os._exit(INTERRUPTED)
    sys.__unraisablehook__(unraisable)


def main(arguments: "Sequence[str] | None" = None) -> "NoReturn":
    """Run a command; every ending of the process goes through here."""
    interruption = Interruption()
    # Imported here and below, where Ctrl-C is heard already.
    from facecli.cli.streams import open_streams  # noqa: PLC0415

    stdout = open_streams()
    try:
        code = _run(arguments, interruption)
    except BaseException as error:  # noqa: BLE001 (the one boundary: every ending becomes a message and an exit code)
        code = _report_whatever(error, interruption, stdout)
    _leave(_with_stdout(code, stdout))


def _run(arguments: "Sequence[str] | None", interruption: Interruption) -> int:
    from facecli.cli.group import facecli  # noqa: PLC0415
    from facecli.cli.interrupt import end_at_second_signal  # noqa: PLC0415
    from facecli.errors import UsageError  # noqa: PLC0415

    if sys.platform == "win32":
        raise UsageError("native Windows is not supported", sys.platform, hint="run facecli inside WSL")
    interruption.become_an_exception()
    end_at_second_signal()
    code = facecli.main(args=list(arguments) if arguments is not None else None, prog_name="facecli", standalone_mode=False)
    return code if isinstance(code, int) else 0


def _report_whatever(error: BaseException, interruption: Interruption, stdout: "Stdout") -> int:
    """As `_report`, also where memory doesn't suffice to import what that takes: 1 would be an answer."""
    try:
        return _report(error, interruption, stdout)
    except (ImportError, MemoryError, OSError):
        try:
            os.write(2, b"facecli: error: not enough memory to say what went wrong\n")
        except OSError:
            return FAILED
        return FAILED


def _report(error: BaseException, interruption: Interruption, stdout: "Stdout") -> int:
    """The exit code of a command that was ended by an error, which is said."""
    import click  # noqa: PLC0415

    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        return error.code if isinstance(error.code, int) else 0
    if error is stdout.trouble:
        return 0  # said at the end, whatever ended the command
    if _debugging():
        _show_traceback(error)
    # An import that is interrupted can end in any error.
    if interruption.came or isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return INTERRUPTED
    return _explain(error)


def _show_traceback(error: BaseException) -> None:
    import traceback  # noqa: PLC0415 (rare)

    from facecli.cli.streams import tell  # noqa: PLC0415

    for line in "".join(traceback.format_exception(error)).splitlines():
        tell(line)


def _explain(error: BaseException) -> int:
    """Say an error in one line, with a hint where there is one; its exit code."""
    import click  # noqa: PLC0415

    from facecli.cli.streams import say_error  # noqa: PLC0415
    from facecli.errors import FacecliError  # noqa: PLC0415
    from facecli.system import is_lack  # noqa: PLC0415

    if isinstance(error, ImportError):
        # Imported where something is broken already, so that nothing else pays for it.
        from facecli.installation import explain_import_error  # noqa: PLC0415

        error = explain_import_error(error) or error
    elif is_lack(error) and not isinstance(error, FacecliError | click.ClickException | OSError):
        error = FacecliError("memory is lacking at the moment", " ".join(str(error).split()))
    if isinstance(error, FacecliError):
        say_error(str(error), error.hint)
        return error.exit_code
    if isinstance(error, click.ClickException):
        say_error(_click_message(error), _click_hint(error))
    elif isinstance(error, SystemExit):
        say_error(f"a library ended the command: {error}", "")
    else:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        say_error(what, "" if _debugging() else "run it again with --debug for the details")
    return FAILED


def _click_message(error: "click.ClickException") -> str:
    """The message of click in the form WHAT: WHERE."""
    import click  # noqa: PLC0415

    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    if isinstance(error, click.BadParameter | click.MissingParameter) or ": " not in message:
        where = context.command_path if context is not None else "facecli"
        return f"{message}: {where}" if ": " not in message else message
    return message


def _click_hint(error: "click.ClickException") -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else "facecli --help"


def _debugging() -> bool:
    return "--debug" in sys.argv or os.environ.get("FACECLI_DEBUG", "") not in ("", "0")


def _with_stdout(code: int, stdout: "Stdout") -> int:
    """The exit code, after the last results have gone out; says why stdout took nothing, unless its reader has gone."""
    from contextlib import suppress  # noqa: PLC0415

    from facecli.cli.streams import ReaderGone, say_error  # noqa: PLC0415
    from facecli.errors import OutputError  # noqa: PLC0415

    with suppress(OutputError):
        sys.stdout.flush()
    if stdout.trouble is None or isinstance(stdout.trouble, ReaderGone):
        return code
    say_error(str(stdout.trouble), "")
    return code if code > 128 else FAILED


def _leave(code: int) -> "NoReturn":
    """End the process at once.

    Everything that lasts is closed by whoever opened it. Taking the interpreter and the networks apart piece by piece would only cost
    a search a tenth of its time.
    """
    os._exit(code)
