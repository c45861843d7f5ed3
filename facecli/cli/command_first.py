"""Groups of commands as git and apt users type them: with `help`, and with options before the command, too."""

from __future__ import annotations

import click

VALUED = ("-i", "--index", "-m", "--model", "-d", "--device")
"""Options of many commands whose value may have the name of a command."""
OWN = ("-h", "--help", "-V", "--version")
"""Options of the group itself."""
SENTENCE = 1000
"""Longer than any first sentence of a help."""


class HelpedGroup(click.Group):
    """A group with `help` as a command: alone its own help, before a command that of the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args[:1] == ["help"]:
            args = [*(word for word in args[1:] if not word.startswith("-") and word != "help"), "--help"]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their whole first sentence; click would cut it to one line."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(SENTENCE)) for name in self.list_commands(ctx)]
            )


class CommandFirst(HelpedGroup):
    """A group that moves options before the command to the command."""

    def command_first(self, args: list[str]) -> list[str]:
        """The arguments with the command before all options; unchanged where they begin with it, or name none."""
        if not args or not args[0].startswith("-") or args[0] in (*OWN, "--"):
            return args
        names = self.list_commands(click.Context(self))
        words = [place for place in range(len(args)) if not args[place].startswith("-")]
        possible = [place for place in words if args[place] in names and args[place - 1] not in VALUED]
        # Without a known command, the first word is taken for a misspelt one, unless it is an option's value.
        free = possible or [place for place in words if args[place - 1] not in VALUED]
        return [args[free[0]], *args[: free[0]], *args[free[0] + 1 :]] if free else args

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.command_first(args))
