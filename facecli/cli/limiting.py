"""The options that limit a command to photos of a folder, a time, a place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from facecli.cli.names import Name
from facecli.wording import counted

if TYPE_CHECKING:
    from facecli.cli.console import Console
    from facecli.store.records import Selected


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --under, --after, --before and --near."""
    for option in (
        click.option(
            "--near", metavar="LAT,LON[,KM]", help="Only photos taken within KM kilometres (10) of a place in degrees."
        ),
        click.option("--before", metavar="TIME", help="Only photos taken before a time; by the camera's clock."),
        click.option(
            "--after", metavar="TIME", help="Only photos taken at a time or after: 2004, 2004-07, 2004-07-14T12:30."
        ),
        click.option(
            "--under",
            metavar="DIR|GLOB",
            multiple=True,
            type=Name(),
            help="Only photos at or below a path, which may be a pattern; repeatable.",
        ),
    ):
        command = option(command)
    return command


def tell_left_out(selected: Selected, console: Console) -> None:
    """Say how many photos are left out because they have no date or place."""
    for count, what in ((selected.undated, "date"), (selected.unplaced, "place")):
        if count:
            console.warn(f"{counted(count, 'photo')} without a {what} left out")
