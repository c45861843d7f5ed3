"""The start and end of a command: Ctrl-C at any moment, and endings that are not errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Shell

INTERRUPTING = """
    import os, runpy, signal, sys

    class Finder:
        '''Presses Ctrl-C when a module is looked for.'''
        def find_spec(self, name, path=None, target=None):
            if name == {module!r}:
                {press}
            return None

    class Unheard:
        def __del__(self):
            press()

    def press():
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000): pass

    sys.meta_path.insert(0, Finder())
    sys.argv = ["facecli", *{arguments!r}]
    {begin}
"""
AS_MODULE = 'runpy.run_module("facecli", run_name="__main__", alter_sys=True)'
AS_SCRIPT = "from facecli.cli.main import main; sys.exit(main())"


def interrupted(
    shell: Shell, photo: Path, module: str, *, press: str = "press()", begin: str = AS_MODULE, **options: Any
) -> tuple[int, bytes]:
    """The exit code and output of a search when Ctrl-C is pressed while it imports a module."""
    code = textwrap.dedent(INTERRUPTING).format(
        module=module, press=press, arguments=["verify", str(photo), str(photo)], begin=begin
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=shell.work,
        env=shell.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        **options,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("begin", [AS_MODULE, AS_SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize(
    "module", ["facecli.cli.streams", "click", "facecli.cli.verify", "numpy", "facecli.searching.verifying", "cv2"]
)
def test_ctrl_c_while_something_is_imported_is_130_and_silence(
    shell: Shell, find_sample: Callable[[str], Path], module: str, begin: str
) -> None:
    assert interrupted(shell, find_sample("yaoming.jpg"), module, begin=begin) == (130, b"")


def test_the_first_module_of_a_program_is_covered_too(shell: Shell, find_sample: Callable[[str], Path]) -> None:
    assert interrupted(shell, find_sample("yaoming.jpg"), "facecli.cli") == (130, b"")


@pytest.mark.parametrize("module", ["click", "numpy"])
def test_ctrl_c_where_python_would_print_and_forget_it_ends_the_command(
    shell: Shell, find_sample: Callable[[str], Path], module: str
) -> None:
    assert interrupted(shell, find_sample("yaoming.jpg"), module, press="Unheard()") == (130, b"")


def test_ctrl_c_that_an_import_turns_into_its_own_error_is_130(
    shell: Shell, find_sample: Callable[[str], Path]
) -> None:
    press = "exec('try: press()\\nexcept BaseException: raise ImportError(\"half of it\")')"
    assert interrupted(shell, find_sample("yaoming.jpg"), "cv2", press=press) == (130, b"")


def test_a_second_ctrl_c_shows_nothing_either(shell: Shell, find_sample: Callable[[str], Path]) -> None:
    press = "exec('try: press()\\nfinally: press()')"
    assert interrupted(shell, find_sample("yaoming.jpg"), "numpy", press=press) == (130, b"")


def test_where_ctrl_c_is_ignored_it_stays_ignored(shell: Shell, find_sample: Callable[[str], Path]) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    assert interrupted(shell, find_sample("yaoming.jpg"), "numpy", preexec_fn=ignore) == (0, b"")


def test_an_end_that_cannot_be_told_for_want_of_memory_is_no_answer(shell: Shell) -> None:
    program = """
        import facecli.cli.group, facecli.cli.streams
        from facecli.cli.main import main

        def end(*_, **__):
            raise MemoryError

        facecli.cli.group.facecli.main = facecli.cli.streams.say_error = end
        main(["verify", "a", "b"])
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=shell.work, env=shell.environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (2, b"facecli: error: not enough memory to say what went wrong\n")


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("SystemExit('no licence')", 2, "facecli: error: a library ended the command: no licence\n"),
        ("SystemExit(None)", 0, ""),
        ("SystemExit(7)", 7, ""),
        ("KeyboardInterrupt()", 130, ""),
        (
            "OSError(5, 'Input/output error')",
            2,
            "facecli: error: OSError: [Errno 5] Input/output error\nhint: run it again with --debug for the details\n",
        ),
        ("MemoryError()", 2, "facecli: error: memory is lacking at the moment\n"),
        (
            "ImportError('libx.so: failed to map segment from shared object')",
            2,
            "facecli: error: not enough memory or file handles to load a library: libx.so: failed to map segment from shared object\n",  # noqa: E501
        ),
        (
            "ValueError('a\\nb\\x1b[2J')",
            2,
            "facecli: error: ValueError: a\\nb\x1b[2J\nhint: run it again with --debug for the details\n",
        ),
    ],
)
def test_every_ending_has_its_code_and_its_line(shell: Shell, ending: str, code: int, said: str) -> None:
    program = f"""
        import facecli.cli.group
        from facecli.cli.main import main

        def end(**_):
            raise {ending}

        facecli.cli.group.facecli.main = end
        main(["info"])
    """
    environment = shell.environment | {"FACECLI_DEBUG": "0"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=shell.work,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, os.fsdecode(done.stderr)) == (code, said)


def test_a_traceback_comes_with_debug_alone(shell: Shell) -> None:
    assert "Traceback" not in shell("info", code=2).errors
    assert "Traceback" in shell("info", "--debug", code=2).errors
    for value, shown in {"1": True, "Yes": True, "false": False, "no": False, "maybe": False}.items():
        assert ("Traceback" in shell("info", code=2, env={"FACECLI_DEBUG": value}).errors) is shown
