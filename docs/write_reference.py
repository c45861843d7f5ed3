"""Write what is made from the commands' help: `python docs/write_reference.py`.

docs/reference.md has all options; man/ the manual pages, and completions/ the scripts for the shells, which the wheel
installs. Run it after each change of a command; the tests compare the files with the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click

from facecli import __version__
from facecli.cli.group import COMMANDS, facecli

ROOT = Path(__file__).parent.parent
INTRODUCTION = """# All commands and options

This page is made from the help of the commands by `docs/write_reference.py`; `facecli help COMMAND` and
`man facecli-COMMAND` show the same. [manual.md](manual.md) says how the commands behave.

Options may stand before or after the command. Options with a variable take their value from it where they are not
given.
"""
EXITS = (
    ("0", "done; for search and verify: matched"),
    ("1", "search, verify: nothing matched; check: damage found; doctor: a problem found"),
    ("2", "wrong usage, or it failed"),
    ("3", "done, but some inputs could not be read"),
    ("129, 130, 143", "ended by a closed terminal, Ctrl-C or SIGTERM; finished work is kept"),
)
"""The exit codes, as the manual lists them."""
SHELLS = {"bash": "facecli", "zsh": "_facecli", "fish": "facecli.fish"}
"""The shells, and the name under which each finds the script."""


class Page:
    """What the help says about a command."""

    def __init__(self, words: tuple[str, ...], command: click.Command) -> None:
        self.words, self.command = words, command
        above = click.Context(facecli, info_name="facecli", **facecli.context_settings)
        for depth in range(1, len(words)):
            group = _command_at(words[: depth + 1])
            above = click.Context(group, info_name=words[depth], parent=above, **facecli.context_settings)
        self.context = above

    @property
    def name(self) -> str:
        return " ".join(self.words)

    @property
    def usage(self) -> str:
        return " ".join([self.name, *self.command.collect_usage_pieces(self.context)])

    @property
    def text(self) -> list[str]:
        """The description, one string a paragraph."""
        paragraphs = re.split(r"\n\s*\n", (self.command.help or "").strip())
        return [" ".join(paragraph.split()) for paragraph in paragraphs]

    @property
    def options(self) -> list[tuple[str, str]]:
        """The options with their help, as --help shows them."""
        records = (parameter.get_help_record(self.context) for parameter in self.command.get_params(self.context))
        return [record for record in records if record is not None and record[1]]

    @property
    def examples(self) -> list[str]:
        lines = (self.command.epilog or "").replace("\b\n", "").removeprefix("Examples:\n").strip().splitlines()
        return [line.strip() for line in lines if "facecli" in line and len(self.words) > 1]

    @property
    def below(self) -> list[Page]:
        """The pages of its commands."""
        if not isinstance(self.command, click.Group) or len(self.words) == 1:
            return []
        named = ((name, self.command.get_command(self.context, name)) for name in self.command.commands)
        return [Page((*self.words, name), command) for name, command in named if command and not command.hidden]


def _command_at(words: tuple[str, ...]) -> click.Command:
    command: click.Command = facecli
    for word in words[1:]:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, word
        command = found
    return command


def pages() -> list[Page]:
    """The page of each command of facecli."""
    return [Page(("facecli", name), _command_at(("facecli", name))) for name in COMMANDS]


# docs/reference.md


def reference() -> str:
    """The text of docs/reference.md."""
    index = "".join(f"- [{name}](#facecli-{name}): {line}\n" for name, line in COMMANDS.items())
    return "\n".join([INTRODUCTION, index, *(part for page in pages() for part in _section(page, 2))])


def _section(page: Page, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {page.name}\n"
    yield f"`{page.usage}`\n"
    yield from (f"{_wrapped(paragraph)}\n" for paragraph in page.text)
    yield "| option | |\n|---|---|"
    yield "\n".join(f"| `{_cell(names)}` | {_cell(said)} |" for names, said in page.options) + "\n"
    if page.examples:
        yield "```text\n" + "\n".join(page.examples) + "\n```\n"
    for below in page.below:
        yield from _section(below, depth + 1)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _wrapped(text: str) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > 120:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, line])


# manual pages


def manuals() -> dict[str, str]:
    """The manual pages by the names of their files."""
    top = Page(("facecli",), facecli)
    commands = [".SH COMMANDS"]
    for name, line in COMMANDS.items():
        commands += [".TP", f".BR facecli\\-{name} (1)", _roff(line)]
    found = {"facecli.1": "\n".join([*_head(top, top.text[0]), *_options(top), *commands, *_tail(top)]) + "\n"}
    for page in pages():
        lines = [*_head(page, COMMANDS[page.words[1]]), *_options(page)]
        for below in page.below:
            lines += [".SH " + below.name.upper(), _roff(below.usage), *(f".PP\n{_roff(p)}" for p in below.text)]
            lines += _records(below)
        found[f"facecli-{page.words[1]}.1"] = "\n".join([*lines, *_tail(page)]) + "\n"
    return found


def _head(page: Page, line: str) -> Iterator[str]:
    title = "-".join(page.words)
    yield f'.TH "{title.upper()}" 1 "" "facecli {__version__}" "facecli"'
    yield from (".SH NAME", f"{_roff(title)} \\- {_roff(line[0].lower() + line[1:].rstrip('.'))}")
    yield from (".SH SYNOPSIS", _roff(page.usage), ".SH DESCRIPTION")
    yield "\n.PP\n".join(map(_roff, page.text))


def _options(page: Page) -> Iterator[str]:
    yield ".SH OPTIONS"
    yield from _records(page)


def _records(page: Page) -> Iterator[str]:
    for names, said in page.options:
        yield from (".TP", f"\\fB{_roff(names)}\\fP", _roff(said))


def _tail(page: Page) -> Iterator[str]:
    if page.examples:
        yield from (".SH EXAMPLES", ".nf", *map(_roff, page.examples), ".fi")
    yield ".SH EXIT STATUS"
    for code, said in EXITS:
        yield from (".TP", f"\\fB{code}\\fP", _roff(said))
    others = ["facecli", *(f"facecli-{name}" for name in COMMANDS)]
    yield ".SH SEE ALSO"
    yield ",\n".join(f".BR {_roff(other)} (1)" for other in others if other != "-".join(page.words))


def _roff(text: str) -> str:
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "\\&...")
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in escaped.splitlines())


# completion


def completions() -> dict[str, str]:
    """The scripts for the shells by the names of their files."""
    shells = import_module("click.shell_completion")
    import_module("facecli.cli.fish").keep_commas()
    made = {name: shells.get_completion_class(name)(facecli, {}, "facecli", "_FACECLI_COMPLETE") for name in SHELLS}
    return {f"{name}/{file}": made[name].source().strip() + "\n" for name, file in SHELLS.items()}


def write(root: Path) -> None:
    """Write all files below a root; manual pages of commands that are gone are removed."""
    files = {"docs/reference.md": reference()}
    files |= {f"man/{name}": text for name, text in manuals().items()}
    files |= {f"completions/{name}": text for name, text in completions().items()}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    for page in (root / "man").glob("*.1"):
        if f"man/{page.name}" not in files:
            page.unlink()


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
