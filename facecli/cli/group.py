"""The command group."""

from __future__ import annotations

import importlib

import click

from facecli import __version__
from facecli.cli.command_first import CommandFirst
from facecli.errors import UsageError

COMMANDS = {
    "index": "Find the faces in photos and add them to an index.",
    "search": "Find the photos with the most similar faces.",
    "verify": "Check whether two photos show the same person.",
    "faces": "List the faces found in photos; needs no index.",
    "people": "Sort the faces into people, and name them.",
    "info": "Show the contents of an index.",
    "check": "Check that an index is consistent, and repair it.",
    "export": "Write faces or photos to a file for other programs.",
    "merge": "Merge indexes into one.",
    "remove": "Remove photos or faces from an index permanently.",
    "models": "List, download and verify model packs.",
    "calibrate": "Measure the false-match rates of a model pack.",
    "doctor": "Check devices, libraries and models, and fix problems.",
}
"""Commands with their line in `facecli --help`; a command's module is imported only when it runs."""


class LazyGroup(CommandFirst):
    """A group that imports the module of a command when the command is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`facecli` alone shows the help."""
        if not args and not ctx.resilient_parsing:
            args = ["--help"]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise UsageError(f"No such command '{args[0]}'", "facecli", hint=_advice(args[0]))
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"facecli.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; Ctrl-C ends it silently, while click would print an empty line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _advice(name: str) -> str:
    """What somebody who typed a command that does not exist may have meant."""
    import difflib  # noqa: PLC0415 (rare)
    import os  # noqa: PLC0415

    for group in ("people", "models"):
        if name in getattr(importlib.import_module(f"facecli.cli.{group}"), group).commands:
            return f"did you mean facecli {group} {name}?"
    if near := difflib.get_close_matches(name.lower(), [*COMMANDS, "help"], n=1):
        return f"did you mean facecli {near[0]}? facecli --help lists the commands"
    if os.path.exists(name):
        return f"facecli {'index' if os.path.isdir(name) else 'search'} {name}; facecli --help lists the commands"
    return "facecli --help"


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="facecli help COMMAND shows the options of a command, with examples.",
)
@click.version_option(__version__, "-V", "--version", message="facecli %(version)s")
def facecli() -> None:
    """Find every face in your photos and search for similar faces, on your own machine."""
