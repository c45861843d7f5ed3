"""Start and end of every command: streams, signals, and the mapping of errors to messages and exit codes.

Before the handlers of signals are set, nothing is imported that Python has not already loaded, not even `__future__`.
"""

# _signal is built in; the module `signal` first creates enums, which Ctrl-C may interrupt.
import _signal as signal  # type: ignore[import-not-found]
import os
import sys

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing, which takes longer than the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import NoReturn

    import click

    from facecli.cli.streams import Stdout

FAILED = 2


class Interruption:
    """Handles SIGINT, SIGTERM and SIGHUP: during imports they end the process; later the first is a KeyboardInterrupt.

    A second one ends the process from a thread (`end_at_second_signal`) and raises nothing, since the command may be
    removing its files.
    """

    def __init__(self) -> None:
        self.came = 0
        """The number of the signal that came, or 0."""
        ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if hasattr(signal, "SIGHUP") else ()  # else Windows
        # If a shell or nohup ignores the signal, it stays ignored.
        self._heard = [number for number in ends if signal.getsignal(number) is not signal.SIG_IGN]
        self._handle_by(_end_at_once)
        sys.unraisablehook = self._not_in_vain

    def become_an_exception(self) -> None:
        """Raise KeyboardInterrupt from now on, so that a command can clean up."""
        self._handle_by(self._raise)

    @property
    def exit_code(self) -> int:
        """The exit code of a command that a signal has ended; of Ctrl-C where a prompt has read it as a character."""
        code: int = 128 + (self.came or signal.SIGINT)
        return code

    def _handle_by(self, handle: "Callable[[int, FrameType | None], None]") -> None:
        for number in self._heard:
            signal.signal(number, handle)

    def _raise(self, number: int, _frame: "FrameType | None") -> None:
        if not self.came:
            self.came = number
            raise KeyboardInterrupt

    def _not_in_vain(self, unraisable: "sys.UnraisableHookArgs") -> None:
        """End the process on a KeyboardInterrupt in code whose exceptions Python only prints, such as `__del__`."""
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            os._exit(self.exit_code)
        sys.__unraisablehook__(unraisable)


def _end_at_once(number: int, _frame: "FrameType | None") -> None:
    os._exit(128 + number)


def refuse_old_python() -> None:
    """End with a message where Python is older than facecli's code; it would be the name that an import lacks."""
    if sys.version_info < (3, 11):  # noqa: UP036 (run from a checkout, nothing has asked for the version before)
        version = ".".join(map(str, sys.version_info[:3]))
        message = f"facecli: error: facecli needs Python 3.11 or newer: this is {version}, {sys.executable}\n"
        os.write(2, message.encode(errors="replace"))
        os._exit(FAILED)


def main(arguments: "Sequence[str] | None" = None) -> "NoReturn":
    """Run a command and exit; every exit of the process goes through here."""
    refuse_old_python()
    interruption = Interruption()
    # Imports are here and below, after the handlers are set.
    from facecli.cli.streams import open_streams  # noqa: PLC0415

    stdout = open_streams()
    try:
        code = _run(arguments, interruption)
    except BaseException as error:  # noqa: BLE001 (every error becomes a message and an exit code)
        code = _report_whatever(error, interruption, stdout)
    _leave(_with_stdout(code, stdout))


def _run(arguments: "Sequence[str] | None", interruption: Interruption) -> int:
    from facecli.cli.group import facecli  # noqa: PLC0415
    from facecli.cli.interrupt import end_at_second_signal  # noqa: PLC0415
    from facecli.errors import UsageError  # noqa: PLC0415

    if sys.platform == "win32":
        raise UsageError("native Windows is not supported", sys.platform, hint="run facecli inside WSL")
    end_at_second_signal()
    interruption.become_an_exception()
    match os.environ.get("_FACECLI_COMPLETE", "").partition("_")[0]:
        case "fish":
            from facecli.cli.fish import keep_commas  # noqa: PLC0415 (only for fish)

            keep_commas()
        case "bash":
            from facecli.cli.bash import join_at_colons  # noqa: PLC0415 (only for bash)

            join_at_colons()
    code = facecli.main(
        args=list(arguments) if arguments is not None else None, prog_name="facecli", standalone_mode=False
    )
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
    """Report the error that ended a command; returns the exit code."""
    import click  # noqa: PLC0415

    if isinstance(error, SystemExit) and not isinstance(error.code, str):
        return error.code if isinstance(error.code, int) else 0
    if error is stdout.trouble:
        return 0  # reported at the end, for every command
    if _debugging():
        _show_traceback(error)
    # An interrupted import can raise any error.
    if interruption.came or isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return interruption.exit_code
    return _explain(error)


def _show_traceback(error: BaseException) -> None:
    import traceback  # noqa: PLC0415 (rare)

    from facecli.cli.streams import tell  # noqa: PLC0415

    for line in "".join(traceback.format_exception(error)).splitlines():
        tell(line)


def _explain(error: BaseException) -> int:
    """Print an error in one line, and its hint if there is one; returns the exit code."""
    import click  # noqa: PLC0415

    from facecli.cli.streams import say_error  # noqa: PLC0415
    from facecli.errors import FacecliError  # noqa: PLC0415
    from facecli.system import is_lack  # noqa: PLC0415

    if isinstance(error, ImportError):
        # Imported here because only a broken installation needs it.
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
    """Bring a message of click into the form WHAT: WHERE."""
    import click  # noqa: PLC0415

    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    if isinstance(error, click.BadParameter | click.MissingParameter) or ": " not in message:
        where = context.command_path if context is not None else "facecli"
        return f"{message}: {where}" if ": " not in message else message
    return message


def _click_hint(error: "click.ClickException") -> str:
    context = getattr(error, "ctx", None)
    help_of_it = f"{context.command_path} --help" if context is not None else "facecli --help"
    return getattr(error, "hint", "") or help_of_it


def _debugging() -> bool:
    # The words that click takes for yes; for others it has a message of its own.
    return "--debug" in sys.argv or os.environ.get("FACECLI_DEBUG", "").lower() in ("1", "t", "true", "y", "yes", "on")


def _with_stdout(code: int, stdout: "Stdout") -> int:
    """Flush stdout and report its error, unless the reader has closed the pipe; returns the exit code."""
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
    """End the process without shutting down the interpreter.

    All files are already closed. Unloading the interpreter and the networks would take a tenth of a search's time.
    """
    os._exit(code)
