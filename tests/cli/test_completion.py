"""Completion as people get it: Tab is pressed in bash, zsh and fish."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

PATIENCE = 60.0
SETUP = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], ""),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; setopt no_list_beep; "),
}
ASKED = [
    ("facecli ver", "facecli verify"),
    ("facecli index al", "facecli index album/"),
    ("facecli -q index al", "facecli -q index album/"),
    ("facecli search album/par", "facecli search album/party"),
    ("facecli verify album/space/as", "facecli verify album/space/astronaut.png"),
    ("facecli faces album/party/gd", "facecli faces album/party/gdp.jpg"),
    ("facecli remove al", "facecli remove album/"),
    ("facecli info -i al", "facecli info -i album/"),
    ("facecli index --files-from li", "facecli index --files-from list.txt"),
    ("facecli search x.jpg -t bal", "facecli search x.jpg -t balanced"),
    ("facecli verify a.jpg b.jpg -t bal", "facecli verify a.jpg b.jpg -t balanced"),
    ("facecli models pull ante", "facecli models pull antelopev2"),
    ("facecli index -m buffalo_", "facecli index -m buffalo_sc"),
    ("facecli index -m al", "facecli index -m album/"),
    ("facecli index -d aut", "facecli index -d auto"),
    ("facecli index --no-rec", "facecli index --no-recursive"),
]


OF_PEOPLE = (
    *("facecli search An", "facecli people hide An", "facecli export --person An"),
    *("facecli search person:An", "facecli search person:", "facecli search x.jpg person:An"),
    *("facecli export --person person:An", "facecli export --person person:", "facecli people merge person:1 An"),
    "facecli search --after 2004-07-14T12:30 person:An",
)


class Terminal:
    """An interactive shell on a terminal of its own."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.shown = b""

    def type(self, text: str) -> None:
        os.write(self._number, text.encode())

    def wait_for(self, text: str) -> None:
        """Read until a text is shown."""
        deadline = time.monotonic() + PATIENCE
        while text.encode() not in self.shown:
            ready, _, _ = select.select([self._number], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"{text!r} is not shown, but {self.shown[-600:]!r}"
            self.shown += os.read(self._number, 4096)


@contextmanager
def terminal(command: list[str], shell: Shell) -> Iterator[Terminal]:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=shell.work,
        env=environment(shell),
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield Terminal(master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def environment(shell: Shell) -> dict[str, str]:
    return shell.environment | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "TERM": "dumb",
        "PS1": "> ",
        "COLUMNS": "200",
    }


@pytest.fixture
def _photos(shell: Shell, album: Path) -> None:
    assert album.parent == shell.work
    (shell.work / "list.txt").touch()


@pytest.mark.usefixtures("_photos")
@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_tab_completes(shell: Shell, name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    command, setup = SETUP[name]
    with terminal(command, shell) as screen:
        screen.type(f'{setup}eval "$(_FACECLI_COMPLETE={name}_source facecli)"; echo rea""dy\n')
        screen.wait_for("ready")
        for typed, wanted in ASKED:
            screen.shown = b""
            screen.type(f"{typed}\t")
            screen.wait_for(wanted)
            screen.type("\x15")  # clears the line


@pytest.fixture(scope="module")
def anna(
    tmp_path_factory: pytest.TempPathFactory,
    shell_in: Callable[[Path], Shell],
    make_album: Callable[[Path], Path],
) -> Shell:
    """A folder with an indexed album, of whose people one has a name."""
    shell = shell_in(tmp_path_factory.mktemp("anna"))
    shell("index", "-q", make_album(shell.work / "album"))
    shell("people", "assign", "Anna Meier", "face:1")
    return shell


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_tab_completes_the_names_of_people(anna: Shell, name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    command, setup = SETUP[name]
    with terminal(command, anna) as screen:
        screen.type(f'{setup}eval "$(_FACECLI_COMPLETE={name}_source facecli)"; echo rea""dy\n')
        screen.wait_for("ready")
        for typed in OF_PEOPLE:
            screen.shown = b""
            screen.type(f"{typed}\t")
            screen.wait_for(typed.removesuffix("An") + r"Anna\ Meier")
            screen.type("\x15")


@pytest.fixture(scope="module")
def anna_and_lars(anna: Shell, tmp_path_factory: pytest.TempPathFactory, shell_in: Callable[[Path], Shell]) -> Shell:
    """The same, with a second person who has a name."""
    shell = shell_in(shutil.copytree(anna.work, tmp_path_factory.mktemp("lars") / "home"))
    shell("people", "assign", "Andersen, Lars", "face:2")
    return shell


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize("typed", OF_PEOPLE)
def test_fish_completes_the_names_of_people(anna_and_lars: Shell, typed: str) -> None:
    words = {offered.removeprefix("person:") for offered in fish_offers(anna_and_lars, typed)}
    assert {"Anna Meier", "Andersen, Lars"} <= words


@pytest.mark.usefixtures("_photos")
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("typed", "wanted"), ASKED)
def test_fish_completes(shell: Shell, typed: str, wanted: str) -> None:
    offered = fish_offers(shell, typed)
    assert any(word.startswith(wanted.rpartition(" ")[2]) for word in offered), offered


@pytest.mark.usefixtures("_photos")
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_says_what_comes_after_a_comma(shell: Shell) -> None:
    assert fish_offers(shell, "facecli model")["models"].startswith("List, download and verify model packs")


def fish_offers(shell: Shell, typed: str) -> dict[str, str]:
    """What Tab offers, and what is said about it: `complete -C` asks fish for it."""
    script = f'_FACECLI_COMPLETE=fish_source facecli | source; complete -C "{typed}"'
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        cwd=shell.work,
        env=environment(shell),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return dict(line.partition("\t")[::2] for line in done.stdout.splitlines())
