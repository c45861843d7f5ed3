"""Option types for names of files, directories, indexes and packs.

An empty name is an error, since it would mean the working directory.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from facecli.errors import UsageError, check_name

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Name(click.Path):
    """A path, or a name that may be a path; not empty."""

    def __init__(self, *, file_okay: bool = True, dir_okay: bool = True, completes: str = "") -> None:
        super().__init__(file_okay=file_okay, dir_okay=dir_okay, readable=False)
        self._completes = completes

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Leave files, or with `completes` "dir" directories, to the shell."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 (only the shell asks)

        return (
            [CompletionItem(incomplete, type=self._completes)]
            if self._completes
            else super().shell_complete(ctx, param, incomplete)
        )

    def convert(self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None) -> Any:
        name = check_name(os.fspath(value), _named(param))
        # click checks only names that must be a file or a directory.
        return name if self.file_okay and self.dir_okay else super().convert(name, param, ctx)


def _named(param: click.Parameter | None) -> str:
    """The name of a parameter on the command line."""
    if isinstance(param, click.Option):
        return param.opts[-1]
    return param.make_metavar(click.get_current_context()) if param is not None else ""


class NameOption(click.Option):
    """An option whose environment variable must not be empty; click would treat an empty one as unset."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        variable = self.envvar if isinstance(self.envvar, str) else ""
        if os.environ.get(variable) == "" and not ctx.resilient_parsing:
            raise UsageError("an empty name", variable, hint=f"unset {variable}, or give it a value")
        return super().resolve_envvar_value(ctx)
