"""The documents agree with the code: commands, options, the help block, outputs, links."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from facecli.cli.group import COMMANDS, facecli
from facecli.thresholds import NAMES, PRESET_RATES
from facecli.types import SkipReason
from facecli.vision.devices.select import KINDS

if TYPE_CHECKING:
    from conftest import Shell

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
MANUAL = ROOT / "docs/manual.md"
DOCUMENTS = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
SCRIPTS = [
    ROOT / "examples/quickstart.sh",
    *sorted((ROOT / "examples/recipes").glob("*.sh")),
    *sorted((ROOT / "examples/fleet").glob("*.sh")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def shell_of(path: Path) -> str:
    """The shell commands of a document: sh blocks, lines after `$ ` in console blocks; the whole text of a script."""
    text = path.read_text("utf-8")
    if path.suffix != ".md":
        return text
    blocks = BLOCK.findall(text)
    prompts = [
        line[2:] for kind, body in blocks if kind == "console" for line in body.splitlines() if line.startswith("$ ")
    ]
    return "\n".join([body for kind, body in blocks if kind == "sh"] + prompts)


def calls_of(path: Path) -> Iterator[list[str]]:
    """The arguments of every `facecli` call in a document, each up to the end of its simple command."""
    for line in shell_of(path).replace("\\\n", " ").splitlines():
        if "facecli" not in line or line.lstrip().startswith("#"):
            continue
        whole = line.removesuffix("'") if line.count("'") % 2 else line  # a string that continues on the next line
        lexer = shlex.shlex(whole, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        for start in [i for i, word in enumerate(words) if word == "facecli"]:
            rest = words[start + 1 :]
            end = next((i for i, word in enumerate(rest) if set(word) <= set("();<>|&")), len(rest))
            yield rest[:end]


@cache
def command_named(name: str) -> click.Command:
    command = facecli.get_command(context_of(facecli), name)
    assert command is not None, f"facecli has no command {name}"
    return command


def context_of(command: click.Command) -> click.Context:
    """The context in which a command runs; click caches data in the first one."""
    top = click.Context(facecli, info_name="facecli", terminal_width=80, **facecli.context_settings)
    return top if command is facecli else click.Context(command, parent=top)


def options_of(command: click.Command) -> set[str]:
    """Every option of a command and of its sub-commands, long and short."""
    own = {
        option
        for parameter in command.get_params(context_of(command))
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    below = command.commands.values() if isinstance(command, click.Group) and command is not facecli else ()
    return {option for option in own if option.startswith("-")}.union(*map(options_of, below))


def unknown_words(arguments: list[str]) -> list[str]:
    """The command and options of a call that do not exist in facecli."""
    if not arguments or arguments[0].startswith("-"):
        return [word for word in arguments if word.startswith("-") and word not in options_of(facecli)]
    if arguments[0] not in COMMANDS:
        return arguments[:1]
    known = options_of(command_named(arguments[0]))
    written = [word.partition("=")[0] for word in arguments[1:] if re.match(r"--?[A-Za-z0-9]", word)]
    return [word for word in written if word not in known]


@pytest.mark.parametrize("path", [*DOCUMENTS, *SCRIPTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_every_command_is_real(path: Path) -> None:
    wrong = [(arguments, unknown) for arguments in calls_of(path) if (unknown := unknown_words(arguments))]
    assert wrong == []


def test_the_commands_are_seen() -> None:
    """The parser of commands handles pipes, substitutions and comments."""
    assert len(list(calls_of(README))) >= 8
    assert ["search", "--top", "0", "--json", "$1"] in list(calls_of(ROOT / "examples/recipes/folders.sh"))
    assert unknown_words(["search", "--no-such", "x"]) == ["--no-such"]
    assert unknown_words(["nonsense"]) == ["nonsense"]


def test_the_readme_is_short() -> None:
    assert README.read_text("utf-8").count("\n") <= 150


def block_after(mark: str) -> str:
    """The content of the README's first code block after a marker."""
    found = BLOCK.search(README.read_text("utf-8"), README.read_text("utf-8").index(mark))
    assert found is not None
    return found[2]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_and_the_manual_name_every_command(name: str) -> None:
    for path in (README, MANUAL):
        assert f"facecli {name}" in path.read_text("utf-8"), path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_option_in_the_text_exists(path: Path) -> None:
    everything = {"--version"}.union(*(options_of(command_named(name)) for name in COMMANDS), options_of(facecli))
    foreign = {
        "--no-deps",
        "--all-files",
        "--strict",
        "--force-exclude",
        "--check",
        "--editable",
        "--overrides",
        "--with",
        "--synthetic",
        "--real",
        "--seconds",
        "--tb",
    }
    text = re.sub(r"`(pip|pipx|uv|ruff|mypy|pytest|pre-commit|bash|git|ray)\b[^`]*`", "", path.read_text("utf-8"))
    text = re.sub(r"^ray .*", "", text, flags=re.MULTILINE)
    assert set(OPTION.findall(text)) - everything - foreign == set()


def test_the_documents_name_the_words_of_the_code() -> None:
    text = MANUAL.read_text("utf-8")
    assert [reason for reason in SkipReason if f"`{reason}`" not in text] == []
    assert [name for name in NAMES if f"`{name}`" not in text] == []
    assert [code for code in ("0", "1", "2", "3") if f"\n| {code} | " not in text] == []


def test_the_devices_are_those_of_the_code() -> None:
    text = (ROOT / "docs/devices.md").read_text("utf-8")
    assert [kind.name for kind in KINDS if f"`{kind.name}`" not in text] == []


def test_the_presets_are_those_of_the_code() -> None:
    """The README's `1 in N` agrees with the rate of each preset, to two digits."""
    rows = dict(
        re.findall(r"^\| `(\w+)` \| 0\.\d+ \| 1 in ([\d,.]+(?: million)?) \|$", README.read_text("utf-8"), re.MULTILINE)
    )
    assert rows.keys() == PRESET_RATES.keys()
    for name, text in rows.items():
        number = float(text.removesuffix(" million").replace(",", "")) * (1e6 if text.endswith("million") else 1)
        assert number == pytest.approx(1 / PRESET_RATES[name], rel=0.08)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [target for target in targets if not target.startswith(("https://", "#"))]
    assert [target for target in local if not (path.parent / target.partition("#")[0]).exists()] == []
    headings = {
        re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in text.splitlines()
        if line.startswith("#")
    }
    assert [target for target in targets if target.startswith("#") and target[1:] not in headings] == []


def test_the_quickstart_block_is_what_the_commands_print(
    shell: Shell, album: Path, find_sample: Callable[[str], Path]
) -> None:
    """Compare the lines, similarities to two decimals; the times and the bottleneck of the run are not compared."""
    shutil.copyfile(find_sample("yaoming.jpg"), shell.work / "yaoming.jpg")
    indexing, searching = block_after("<!-- quickstart -->").removeprefix("$ ").split("$ ")
    assert indexing.startswith("facecli index album\n")
    assert searching.startswith("facecli search yaoming.jpg --threshold none\n")
    assert without_times(shell("index", album.name).errors) == without_times(indexing.partition("\n")[2])
    shown = [line.split("\t") for line in searching.splitlines()[1:]]
    printed = [line.split("\t") for line in shell("search", "yaoming.jpg", "--threshold", "none").text.splitlines()]
    assert [row[1:3] for row in printed] == [row[1:3] for row in shown]
    assert [float(row[0]) for row in printed] == pytest.approx([float(row[0]) for row in shown], abs=0.005)


def test_the_python_of_the_readme_runs(shell: Shell, album: Path, find_sample: Callable[[str], Path]) -> None:
    """Runs the code unchanged, except for the paths."""
    (program,) = [body for kind, body in BLOCK.findall(README.read_text("utf-8")) if kind == "python"]
    program = program.replace("/srv/photos", str(album)).replace("portrait.jpg", str(find_sample("yaoming.jpg")))
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=shell.work,
        env=shell.environment,
        check=True,
    )
    counts, match = done.stdout.splitlines()
    assert counts == "4 34 []"
    assert match.split()[1] == str(album / "sport/players.jpg")


def test_the_python_of_the_manual_runs(shell: Shell, album: Path, find_sample: Callable[[str], Path]) -> None:
    """Runs the code unchanged; every statement of the manual is covered."""
    shutil.copyfile(find_sample("yaoming.jpg"), shell.work / "portrait.jpg")
    (program,) = [
        body for kind, body in BLOCK.findall((ROOT / "docs/python.md").read_text("utf-8")) if kind == "python"
    ]
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=album.parent,
        env=shell.environment,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "4 photos, 34 faces"
    assert "False 0.12" in lines
    assert lines[-1] == "3 []"


def test_the_documents_name_every_variable() -> None:
    code = "".join(path.read_text("utf-8") for path in (ROOT / "facecli").rglob("*.py"))
    said = "".join(path.read_text("utf-8") for path in DOCUMENTS)
    assert set(re.findall(r"\bFACECLI_[A-Z_]+\b", code)) - set(re.findall(r"\bFACECLI_[A-Z_]+\b", said)) == set()


def test_the_installation_names_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    said = (ROOT / "docs/install.md").read_text("utf-8")
    assert {extra for extra in extras if f"`{extra}`" not in said and f"[{extra}]" not in said} == {"dev"}


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d+|\d+ jobs|(?<=index: ).*", "#", text)


def test_every_recipe_is_in_the_readme() -> None:
    text = README.read_text("utf-8")
    assert [script.name for script in SCRIPTS if script.parent.name == "recipes" and script.name not in text] == []
