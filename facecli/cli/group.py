"""The command group."""

from __future__ import annotations

import importlib

import click

from facecli import __version__

COMMANDS = {
    "index": "Find the faces in photos and add them to an index.",
    "search": "Find the photos with the most similar faces.",
    "verify": "Check whether two photos show the same person.",
    "faces": "List the faces found in photos; needs no index.",
    "people": "Sort the faces into people, and name them.",
    "info": "Show the contents of an index.",
    "check": "Check that an index is consistent, and repair it.",
    "merge": "Merge indexes into one.",
    "remove": "Remove photos or faces from an index permanently.",
    "models": "List, download and verify model packs.",
    "calibrate": "Measure the false-match rates of a model pack.",
    "doctor": "Check devices, libraries and models, and fix problems.",
}
"""Commands with their line in `facecli --help`; a command's module is imported only when it runs."""


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is called."""

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


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="facecli %(version)s")
def facecli() -> None:
    """Find every face in your photos and search for similar faces, on your own machine."""
