"""Commands with a full, closed or early ended stdout and stderr, on a terminal and in any locale."""

from __future__ import annotations

import array
import contextlib
import csv
import fcntl
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Shell

Find = Callable[[str], Path]
COMMAND = [sys.executable, "-m", "facecli"]
FULL = "facecli: error: cannot be written (No space left on device): stdout\n"
QUERY = ("yao.jpg", "-t", "none", "-k", "0")
PRINTING: tuple[tuple[str, ...], ...] = (
    ("--help",),
    ("--version",),
    ("index", "--help"),
    ("models",),
    ("models", "path", "buffalo_sc"),
    ("models", "verify"),
    ("info",),
    ("info", "--json"),
    ("info", "--photos"),
    ("check",),
    ("search", *QUERY),
    ("search", "--json", *QUERY),
    ("search", "-l", *QUERY),
    ("search", "--csv", *QUERY),
    ("verify", "yao.jpg", "yao.jpg"),
    ("verify", "--json", "yao.jpg", "yao.jpg"),
    ("faces", "yao.jpg"),
    ("index", "--json"),
    ("remove", "--dry-run", "album"),
    ("doctor",),
    ("doctor", "--json"),
)
"""Commands that print something, on a small index."""
JSON = tuple(command for command in PRINTING if "--json" in command)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, find_sample: Find) -> Path:
    """A directory with three photos, their index and a query photo; tests do not change it."""
    home = tmp_path_factory.mktemp("small")
    put(
        home,
        find_sample,
        {"album/players.jpg": "players.jpg", "album/gdp.jpg": "gdp.jpg", "album/astronaut.png": "astronaut.png"},
    )
    subprocess.run(
        [*COMMAND, "index", "-q", "album"], cwd=home, check=True, env=os.environ | {"XDG_CACHE_HOME": str(shared_cache)}
    )
    return home


def put(home: Path, find_sample: Find, photos: dict[str, str]) -> None:
    for name, source in {"yao.jpg": "yaoming.jpg", **photos}.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(find_sample(source), home / name)


def run(shell: Shell, home: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command with the given streams."""
    env = shell.environment | options.pop("env", {})
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run([*COMMAND, *arguments], cwd=home, env=env, check=False, timeout=120, **given)


def closed(number: int) -> Callable[[], None]:
    return lambda: os.close(number)


# stdout


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
def test_a_full_stdout_is_one_line_in_every_command(shell: Shell, small: Path, arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        ran = run(shell, small, *arguments, stdout=full)
    lines = [line for line in ran.stderr.decode().splitlines(keepends=True) if line.startswith("facecli: error: ")]
    assert (ran.returncode, lines) == (2, [FULL])
    assert b"Traceback" not in ran.stderr
    assert b"--debug" not in ran.stderr


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("info",), ("search", *QUERY), ("index", "--json")], ids=" ".join
)
def test_a_closed_stdout_takes_nothing_either(shell: Shell, small: Path, arguments: tuple[str, ...]) -> None:
    ran = run(shell, small, *arguments, stdout=None, preexec_fn=closed(1))
    assert ran.returncode == 2
    assert b"facecli: error: cannot be written (it is closed): stdout\n" in ran.stderr


def test_who_prints_nothing_needs_no_stdout(shell: Shell, small: Path) -> None:
    assert run(shell, small, "index", stdout=None, preexec_fn=closed(1)).returncode == 0
    assert run(shell, small, "search", "yao.jpg", "-t", "0.99", stdout=None, preexec_fn=closed(1)).returncode == 1


def test_the_script_of_completion_into_a_full_stdout(shell: Shell, small: Path) -> None:
    with open("/dev/full", "wb") as full:
        ran = run(shell, small, stdout=full, env={"_FACECLI_COMPLETE": "bash_source"})
    assert (ran.returncode, ran.stderr.decode()) == (2, FULL)


@pytest.mark.parametrize(
    "arguments", [("search", *QUERY), ("info", "--photos"), ("--help",), ("models",)], ids=" ".join
)
def test_a_reader_that_has_gone_ends_it_silently(shell: Shell, small: Path, arguments: tuple[str, ...]) -> None:
    ran = run(shell, small, *arguments, stdout=gone())
    assert (ran.returncode, ran.stderr) == (0, b"")


def gone() -> int:
    """The writing end of a pipe without a reader."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("stdout", ["gone", "full"])
def test_what_was_asked_for_is_made_whoever_reads_stdout(
    shell: Shell, small: Path, tmp_path: Path, stdout: str
) -> None:
    page, copies, links, crops = (tmp_path / name for name in ("page.html", "copies", "links", "crops"))
    sink = gone() if stdout == "gone" else os.open("/dev/full", os.O_WRONLY)
    code = 0 if stdout == "gone" else 2
    made = ("--html", str(page), "--copy-to", str(copies), "--link-to", str(links))
    assert run(shell, small, "search", *QUERY, *made, stdout=sink).returncode == code
    assert page.read_bytes().endswith(b"</html>\n")
    assert {p.name for p in copies.iterdir()} >= {"players.jpg", "gdp.jpg", "astronaut.png"}
    assert {p.name for p in links.iterdir()} >= {"players.jpg", "gdp.jpg", "astronaut.png"}
    assert run(shell, small, "faces", "album/gdp.jpg", "--crops", str(crops), stdout=sink).returncode == code
    assert len(list(crops.glob("*.png"))) == 5
    os.close(sink)


@pytest.mark.parametrize("stdout", ["gone", "full"])
def test_a_removal_and_a_repair_do_not_ask_stdout(shell: Shell, small: Path, stdout: str) -> None:
    home = shell.work / "copy"
    shutil.copytree(small, home)
    sink = gone() if stdout == "gone" else os.open("/dev/full", os.O_WRONLY)
    ran = run(shell, home, "remove", "album/gdp.jpg", stdout=sink)
    assert ran.returncode == (0 if stdout == "gone" else 2)
    assert b"removed 1 photo, 5 faces" in ran.stderr
    assert "gdp.jpg" not in shell("info", "--photos", cwd=home).text
    (vectors,) = (home / ".facecli").glob("vectors-*.faiss")
    vectors.unlink()
    shell("check", cwd=home, code=1)
    assert run(shell, home, "check", "--repair", stdout=sink).returncode == (0 if stdout == "gone" else 2)
    shell("check", cwd=home)
    os.close(sink)


def test_a_pipe_that_does_not_block_loses_nothing(shell: Shell, small: Path) -> None:
    arguments = [*COMMAND, "faces", "--json", "--embeddings", *["album/gdp.jpg"] * 9]
    wanted = subprocess.run(arguments, cwd=small, env=shell.environment, check=True, stdout=subprocess.PIPE).stdout
    assert len(wanted) > 200_000
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = subprocess.Popen(arguments, cwd=small, env=shell.environment, stdout=writer)
    os.close(writer)
    waiting = array.array("i", [0])
    while waiting[0] < 60_000 and process.poll() is None:  # until the pipe is full
        fcntl.ioctl(reader, termios.FIONREAD, waiting)
        time.sleep(0.05)
    with open(reader, "rb") as pipe:
        assert pipe.read() == wanted
    assert process.wait(60) == 0


# stderr


@pytest.mark.parametrize("how", ["full", "closed", "gone"])
def test_trouble_with_stderr_changes_nothing(shell: Shell, small: Path, how: str) -> None:
    commands: tuple[tuple[str, ...], ...] = (
        ("search", "--json", "album/gdp.jpg", "-t", "none"),
        ("search", "-l", "none.jpg", "yao.jpg", "-t", "none"),
        ("search", "none.jpg"),
        ("search", "yao.jpg", "-t", "0.99"),
        ("verify", "none.jpg", "yao.jpg"),
        ("check", "-i", "nowhere"),
        ("search", "--nonsense"),
        ("models", "path", "nonsense"),
    )
    for arguments in commands:
        right = run(shell, small, *arguments)
        ran = run(shell, small, *arguments, **stderr(how))
        assert (ran.returncode, ran.stdout) == (right.returncode, right.stdout), arguments


def stderr(how: str) -> dict[str, Any]:
    if how == "closed":
        return {"stderr": None, "preexec_fn": closed(2)}
    return {"stderr": gone() if how == "gone" else os.open("/dev/full", os.O_WRONLY)}


def test_an_index_run_ends_as_ever_where_nobody_hears_it(shell: Shell, find_sample: Find) -> None:
    put(shell.work, find_sample, {"album/gdp.jpg": "gdp.jpg"})
    (shell.work / "album/text.jpg").write_text("no image at all\n" * 9)
    ran = run(shell, shell.work, "index", "--json", "album", **stderr("full"))
    assert ran.returncode == 3
    assert json.loads(ran.stdout)["photos"]["total"] == 1


def test_a_notice_is_heard_while_the_noise_of_a_library_is_not(shell: Shell) -> None:
    program = """
        import os
        from facecli.cli.streams import open_streams, tell
        from facecli.onnx_loading import captured_noise

        open_streams()
        with captured_noise() as noise:
            os.write(2, b"noise of a library\\n")
            tell("a notice from another thread")
        assert noise.text() == "noise of a library\\n", noise.text()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=shell.environment, check=True, stderr=subprocess.PIPE
    )
    assert done.stderr == b"a notice from another thread\n"


def test_a_ctrl_c_just_after_a_write_repeats_nothing(shell: Shell) -> None:
    program = """
        import fcntl, os, signal, sys
        from facecli.cli.streams import open_streams

        reader, writer = os.pipe()
        # The kernel sends SIGINT while the call that writes is under way.
        fcntl.fcntl(reader, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(reader, fcntl.F_SETSIG, signal.SIGINT)
        fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC)
        os.dup2(writer, 1)
        open_streams()
        sys.stdout.write("first\\n")
        try:
            sys.stdout.flush()
        except KeyboardInterrupt:
            fcntl.fcntl(reader, fcntl.F_SETFL, 0)
            sys.stdout.write("second\\n")
            sys.stdout.flush()
        read = os.read(reader, 99)
        assert read == b"first\\nsecond\\n", read
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], env=shell.environment, check=True)


# names


ODD = {
    b"esc\x1b[31mRED\x1b]0;title\x07.jpg": b"esc\\x1b[31mRED\\x1b]0;title\\x07.jpg",
    "c1\u009b2J.jpg".encode(): b"c1\\x9b2J.jpg",
    b"raw\x9b2J.jpg": b"raw\\x9b2J.jpg",
    "bidi\u202egpj.jpg".encode(): b"bidi\\u202egpj.jpg",
    "line\u2028back\r.jpg".encode(): b"line\\u2028back\\r.jpg",
}
"""File names, and their safe form for a terminal."""
HARMFUL = (
    b"\x1b[31m",
    b"\x1b]0;",
    b"\x07",
    "\u009b".encode(),
    b"raw\x9b",
    "\u202e".encode(),
    "\u2028".encode(),
    b"back\r.",
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, find_sample: Find) -> Path:
    """An index of photos and other files whose names contain terminal control codes; tests do not change it."""
    home = tmp_path_factory.mktemp("odd")
    put(home, find_sample, {"album/plain.jpg": "gdp.jpg"})
    (home / "text").mkdir()
    for number, name in enumerate(ODD):
        # What follows the end of a JPEG file is not read, but copies would be one row of a table.
        content = find_sample("yaoming.jpg").read_bytes() + bytes([number])
        Path(os.fsdecode(os.path.join(os.fsencode(home), b"album", name))).write_bytes(content)
        with open(os.path.join(os.fsencode(home), b"text", name), "w") as text:
            text.write("no image\n" * 9)
    run_index = subprocess.run(
        [*COMMAND, "index", "-q", "album", "text"],
        cwd=home,
        check=False,
        env=os.environ | {"XDG_CACHE_HOME": str(shared_cache)},
    )
    assert run_index.returncode == 3
    return home


LISTING: tuple[tuple[str, ...], ...] = (
    ("info", "--photos"),
    ("info", "--skipped"),
    ("info", "--photos", "--json"),
    ("remove", "--dry-run", "album"),
    ("search", "-l", *QUERY),
    ("search", "--csv", *QUERY),
    ("search", "--json", *QUERY),
    ("search", *QUERY),
    ("index", "--retry-skipped"),
    ("search", "yao.jpg", "-t", "none", "--copy-to", "nowhere", "--dry-run"),
)


@pytest.mark.parametrize("arguments", LISTING, ids=" ".join)
def test_a_terminal_is_not_steered_by_names(shell: Shell, odd: Path, arguments: tuple[str, ...]) -> None:
    shown = on_terminal(shell, odd, *arguments)
    assert [bad for bad in HARMFUL if bad in shown] == []
    assert b"RED" in shown


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_is_typed_steers_no_terminal_either(shell: Shell, odd: Path, name: bytes) -> None:
    typed = os.fsdecode(b"text/" + name)
    for arguments in (
        ("search", typed),
        ("faces", typed),
        ("verify", typed, typed),
        ("remove", typed + "x"),
        ("info", "-i", typed),
    ):
        shown = on_terminal(shell, odd, *arguments)
        assert [bad for bad in HARMFUL if bad in shown] == []
        assert ODD[name].split(b"\\")[0] in shown


def test_lists_on_a_terminal_show_what_cannot_be_shown(shell: Shell, odd: Path) -> None:
    shown = on_terminal(shell, odd, "search", "-l", *QUERY)
    assert set(shown.replace(b"\r\n", b"\n").splitlines()) == {
        b"album/plain.jpg",
        *(b"album/" + escaped for escaped in ODD.values()),
    }


def test_pipes_keep_the_bytes_of_names(shell: Shell, odd: Path) -> None:
    paths = {b"album/" + name for name in (b"plain.jpg", *ODD)}
    assert set(shell("search", "-0", *QUERY, cwd=odd).out.split(b"\0")) == {*paths, b""}
    assert set(shell("search", "-l", *QUERY, cwd=odd).out.split(b"\n")) == {*paths, b""}
    rows = shell("info", "--photos", cwd=odd).out.split(b"\n")
    assert {row.split(b"\t")[0] for row in rows} == {*paths, b""}
    ran = run(shell, odd, "index", "--retry-skipped")
    assert [name for name in ODD if name.replace(b"\r", b"\\r") not in ran.stderr] == []


def test_json_reads_back_whatever_a_terminal_may_not_see(shell: Shell, odd: Path) -> None:
    for arguments in (("search", "--json", *QUERY), ("info", "--json", "--photos", "--skipped")):
        piped = shell(*arguments, cwd=odd).out
        assert on_terminal(shell, odd, *arguments).replace(b"\r\n", b"\n") == piped
    matches = [json.loads(line) for line in shell("search", "--json", *QUERY, cwd=odd).out.splitlines()]
    assert {m["path"] for m in matches} == {"album/" + name.decode(errors="replace") for name in (b"plain.jpg", *ODD)}


def test_csv_rows_stay_rows_whatever_is_in_a_name(shell: Shell, odd: Path) -> None:
    out = shell("search", "--csv", *QUERY, cwd=odd).out
    header, *rows = csv.reader(io.StringIO(os.fsdecode(out), newline=""))
    assert {len(row) for row in rows} == {len(header)}
    names = {os.fsencode(row[header.index("path")]) for row in rows}
    assert names == {b"album/" + name for name in (b"plain.jpg", *ODD)}


def on_terminal(shell: Shell, folder: Path, *arguments: str) -> bytes:
    """The output of a command on a terminal."""
    ours, theirs = pty.openpty()
    env = shell.environment | {"TERM": "xterm-256color", "COLUMNS": "300", "NO_COLOR": "1", "FORCE_HYPERLINK": "0"}
    process = subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=env)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Linux ends a terminal whose other side is closed with EIO
        while part := os.read(ours, 65536):
            shown += part
    os.close(ours)
    process.wait(60)
    return shown


# locales


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a German locale of ISO 8859-1."""
    folder = tmp_path_factory.mktemp("locales")
    tool = shutil.which("localedef")
    if tool is None:
        pytest.skip("localedef is not installed, so that no locale can be made")
    made = subprocess.run(
        [tool, "-i", "de_DE", "-f", "ISO-8859-1", str(folder / "de_DE.ISO-8859-1")], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("the sources of locales are not installed")
    return {"LC_ALL": "de_DE.ISO-8859-1", "LOCPATH": str(folder)}


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("locale", ["ascii", "latin", "io-ascii"])
def test_no_locale_ends_a_command_or_spoils_its_json(
    shell: Shell, find_sample: Find, locale: str, request: pytest.FixtureRequest
) -> None:
    env = {"ascii": ASCII, "io-ascii": ASCII | {"PYTHONIOENCODING": "ascii"}}.get(locale) or request.getfixturevalue(
        "latin"
    )
    put(shell.work, find_sample, {"äöü/ß姚.jpg": "gdp.jpg"})
    (shell.work / "äöü/é…bad.jpg").write_text("no image\n" * 9)
    helped = run(shell, shell.work, "index", "--help", env=env)
    assert (helped.returncode, b"PATH" in helped.stdout) == (0, True)
    ran = run(shell, shell.work, "index", "--json", "äöü", env=env)
    assert ran.returncode == 3
    assert "é…bad.jpg".encode() in ran.stderr
    assert [skip["path"] for skip in json.loads(ran.stdout.decode("utf-8"))["skipped"]] == ["äöü/é…bad.jpg"]
    for arguments in (
        ("info", "--json", "--skipped", "--photos"),
        ("search", "--json", *QUERY),
        ("faces", "--json", "äöü/ß姚.jpg"),
    ):
        done = run(shell, shell.work, *arguments, env=env)
        assert done.returncode == 0
        assert "äöü/ß姚.jpg" in str([json.loads(line) for line in done.stdout.decode("utf-8").splitlines()])
    assert run(shell, shell.work, "search", "-l", *QUERY, env=env).stdout == "äöü/ß姚.jpg\n".encode()
    assert run(shell, shell.work, "info", env=env).returncode == 0


@pytest.mark.parametrize("arguments", JSON, ids=" ".join)
def test_all_json_is_utf_8(shell: Shell, small: Path, arguments: tuple[str, ...]) -> None:
    ran = run(shell, small, *arguments, env=ASCII | {"PYTHONIOENCODING": "ascii"})
    assert [json.loads(line) for line in ran.stdout.decode("utf-8").splitlines()]


def test_a_help_page_escapes_what_the_locale_lacks(shell: Shell) -> None:
    assert b"[PATH\\u2026]" in run(shell, shell.work, "index", "--help", env=ASCII).stdout
    assert "[PATH…]".encode() in run(shell, shell.work, "index", "--help").stdout


# pages into what is no file


def test_a_page_goes_into_a_pipe_that_is_named(shell: Shell, small: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()), daemon=True)
    reader.start()
    assert run(shell, small, "search", *QUERY, "--html", str(fifo)).returncode == 0
    reader.join(60)
    assert read[0].startswith(b"<!doctype html>")
    assert read[0].endswith(b"</html>\n")
    assert fifo.is_fifo()


def without_times(page: bytes) -> bytes:
    return re.sub(rb"\d\d:\d\d(:\d\d)?", b"", page)


def test_a_page_goes_into_stdout_alone(shell: Shell, small: Path, tmp_path: Path) -> None:
    piped = run(shell, small, "search", *QUERY, "--html", "/dev/stdout").stdout
    assert piped.startswith(b"<!doctype html>")
    assert piped.count(b"<article") == 3
    with open(tmp_path / "page.html", "wb") as file:
        assert run(shell, small, "search", *QUERY, "--html", "/dev/stdout", stdout=file).returncode == 0
    assert without_times((tmp_path / "page.html").read_bytes()) == without_times(piped)
    assert os.path.islink("/dev/stdout")
    ran = run(shell, small, "search", "-l", *QUERY, "--html", "/dev/stdout")
    assert (ran.returncode, ran.stdout) == (2, b"")


def test_a_page_goes_into_stderr_and_a_shells_pipe(shell: Shell, small: Path) -> None:
    ran = run(shell, small, "search", "-q", "-l", *QUERY, "--html", "/dev/stderr")
    assert ran.stdout.count(b"\n") == 3
    assert ran.stderr.startswith(b"<!doctype html>")
    line = f"{sys.executable} -m facecli search {' '.join(QUERY)} -l --html >(tail -n 1 >&2) | cat; wait $!"
    done = subprocess.run(
        ["bash", "-c", line], cwd=small, env=shell.environment, capture_output=True, check=False, timeout=60
    )
    assert done.stdout.count(b"\n") == 3
    assert done.stderr == b"</html>\n"


def test_a_page_that_cannot_be_streamed_is_an_error(shell: Shell, small: Path) -> None:
    full = run(shell, small, "search", *QUERY, "--html", "/dev/full")
    assert full.returncode == 2
    assert full.stderr == b"facecli: error: cannot be written (No space left on device): /dev/full\n"
    nowhere = run(shell, small, "search", "-l", *QUERY, "--html", "/dev/null", stdout=subprocess.DEVNULL)
    assert (nowhere.returncode, nowhere.stderr) == (0, b"")
    blocked = run(shell, small, "search", *QUERY, "--html", str(small / ".facecli" / "catalog.db"))
    assert blocked.returncode == 2


# words


def test_a_second_run_copies_nothing_and_says_so(shell: Shell, small: Path, tmp_path: Path) -> None:
    for option, word in (("--copy-to", "copied to"), ("--link-to", "linked in")):
        target = str(tmp_path / option[2:])
        said = [run(shell, small, "search", "-l", *QUERY, option, target).stderr.decode() for _ in range(2)]
        assert f"3 photos {word} {target}\n" in said[0]
        assert f"0 photos {word} {target}, 3 there already\n" in said[1]
    one = run(shell, small, "search", "-l", "yao.jpg", "--copy-to", str(tmp_path / "one")).stderr.decode()
    assert f"1 photo copied to {tmp_path / 'one'}\n" in one
