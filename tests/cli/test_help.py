"""Help, version, completion and usage errors are fast, complete, and alike for all commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facecli.cli.group import COMMANDS

if TYPE_CHECKING:
    from conftest import Shell

HEAVY = {"numpy", "cv2", "faiss", "onnxruntime", "insightface", "PIL", "scipy", "skimage", "onnx"}
OPTIONS = {
    "index": "--index --model --device --jobs --batch-size --det-size --min-score --min-face --exclude --no-recursive --follow-symlinks --force"  # noqa: E501
    " --thorough --no-thorough --rotate --no-rotate"
    " --migrate --wait --retry-skipped --max-pixels --prune --no-prune --dry-run --json --files-from -i -m -d -j -0",
    "search": "--index --top --threshold --face --combine --by --paths --print0 --json --csv --html --link-to --copy-to --device --model"  # noqa: E501
    " -k -t -l -0 -i -d -m",
    "verify": "--json --face --device --model",
    "faces": "--json --embeddings --crops --face --device --model",
    "info": "--json --skipped --photos --index",
    "check": "--repair --index",
    "remove": "--missing --root --dry-run --forget --index",
    "models": "list pull path verify",
    "doctor": "--json --fix --yes",
}
"""The options of each command in the documentation."""


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_imports_nothing_heavy(shell: Shell, command: str | None) -> None:
    ran = shell(*([command] if command else []), "--help", env={"PYTHONPROFILEIMPORTTIME": "1"}, code=None)
    modules = {name.partition(".")[0] for name in re.findall(r"^import time:.*\|\s*(\S+)$", ran.errors, re.MULTILINE)}
    assert len(modules) > 20
    assert modules & HEAVY == set()
    assert (ran.code, ran.text[:14]) == (0, "Usage: facecli")


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option(shell: Shell, command: str) -> None:
    text = shell(command, "--help").text
    assert [
        option for option in OPTIONS[command].split() if not re.search(rf"(?<![\w-]){re.escape(option)}\b", text)
    ] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(shell: Shell, command: str) -> None:
    text = shell(command, "--help").text
    assert re.search(rf"^ *Examples:\n(?:.*\n)*? +(?:.*\| )?facecli {command}\b", text, re.MULTILINE)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "models"])
def test_common_options_name_their_variables(shell: Shell, command: str) -> None:
    text = shell(command, "--help").text
    assert [name for name in ("FACECLI_QUIET", "FACECLI_VERBOSE", "FACECLI_DEBUG") if name not in text] == []


@pytest.mark.parametrize("arguments", [[], ["help"], ["-h"], ["help", "--help"]])
def test_without_a_command_the_help_is_shown(shell: Shell, arguments: list[str]) -> None:
    ran = shell(*arguments)
    assert (ran.text, ran.errors) == (shell("--help").text, "")
    assert "\nCommands:\n  index " in ran.text


def test_help_takes_a_command(shell: Shell) -> None:
    assert shell("help", "search").text == shell("search", "--help").text
    assert shell("help", "models", "pull").text == shell("models", "pull", "--help").text
    assert shell("models", "help", "pull").text == shell("models", "pull", "--help").text
    assert shell("people", "help").text == shell("people", "--help").text
    assert shell("people", "help", "name").text == shell("people", "name", "--help").text


def test_the_help_of_a_group_has_whole_sentences(shell: Shell) -> None:
    listed = " ".join(shell("people", "--help").text.split())
    assert "assign Say that faces are a person's; an unknown name makes a new person. cover " in listed
    assert "..." not in listed.partition("Commands:")[2]


def test_options_may_come_before_the_command(shell: Shell, album: Path) -> None:
    shell("-q", "-i", "search", "index", album)
    assert (shell.work / "search" / "catalog.db").exists()
    assert shell("--index=search", "--json", "info").text == shell("info", "-i", "search", "--json").text
    assert shell("-v", "models", "list").text == shell("models").text
    assert shell("-i", "search", "info", "--help").text == shell("info", "--help").text


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["serach", "x.jpg"], "did you mean facecli search?"),
        (["hlep"], "did you mean facecli help?"),
        (["-q", "Indx", "album"], "did you mean facecli index?"),
        (["undo"], "did you mean facecli people undo?"),
        (["pull", "buffalo_l"], "did you mean facecli models pull?"),
        (["album/party/t1.jpg"], "facecli search album/party/t1.jpg;"),
        (["album"], "facecli index album;"),
        (["qqq"], "facecli --help"),
    ],
)
@pytest.mark.usefixtures("album")
def test_a_misspelt_command_is_answered_with_the_nearest(shell: Shell, arguments: list[str], hint: str) -> None:
    error, line = shell(*arguments, code=2).errors.splitlines()
    assert error.startswith("facecli: error: No such command")
    assert line.startswith(f"hint: {hint}")


def test_an_old_python_is_named(shell: Shell) -> None:
    program = "import sys; sys.version_info = (3, 10, 4); from facecli.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=shell.environment, check=False
    )
    assert done.returncode == 2
    assert done.stderr == f"facecli: error: facecli needs Python 3.11 or newer: this is 3.10.4, {sys.executable}\n"


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_completion(shell: Shell, name: str) -> None:
    """The script is for this command, and completing `facecli se` gives search."""
    command = str(Path(sys.executable).parent / "facecli")
    script = subprocess.run(
        [command],
        capture_output=True,
        text=True,
        check=True,
        env=shell.environment | {"_FACECLI_COMPLETE": f"{name}_source"},
    )
    assert "_FACECLI_COMPLETE" in script.stdout
    asked = {
        "_FACECLI_COMPLETE": f"{name}_complete",
        "COMP_WORDS": "facecli se",
        "COMP_CWORD": "se" if name == "fish" else "1",
    }
    answer = subprocess.run([command], capture_output=True, text=True, check=True, env=shell.environment | asked)
    assert "search" in answer.stdout
    assert "index" not in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["search", "--nonsense", "x"], "No such option"),
        (["search"], "nothing to search for"),
        (["search", "x.jpg", "-k", "many"], "Invalid value for '-k'"),
        (["search", "x.jpg", "--by", "moon"], "Invalid value for '--by'"),
        (["index", "--jobs", "-1"], "Invalid value for '-j'"),
        (["verify", "a.jpg"], "Missing argument"),
    ],
)
def test_wrong_usage_is_an_error_of_the_one_form(shell: Shell, arguments: list[str], error: str) -> None:
    ran = shell(*arguments, code=2)
    lines = ran.errors.splitlines()
    assert ran.out == b""
    assert len(lines) == 2
    assert lines[0].startswith(f"facecli: error: {error}")
    assert re.fullmatch(r"facecli: error: \S.*: \S.*", lines[0])
    assert re.fullmatch(r"hint: (facecli.* --help|name a photo, .*)", lines[1])
