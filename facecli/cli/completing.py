"""What the shell offers for values that are no plain files: packs, devices, thresholds, people."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
    from click.shell_completion import CompletionItem


def complete_packs(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The packs that `pull` downloads."""
    from facecli.vision.packs.known import PACKS  # noqa: PLC0415

    return _beginning(incomplete, [pack.name for pack in PACKS])


def complete_models(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The packs on this machine, or a directory."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    from facecli.vision.packs.inventory import installed_packs  # noqa: PLC0415

    # The directory comes first: in bash it empties the list.
    return [CompletionItem(incomplete, type="dir"), *_beginning(incomplete, installed_packs())]


def complete_devices(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The devices whose libraries are installed."""
    from facecli.vision.devices.select import present_kinds  # noqa: PLC0415

    return _beginning(incomplete, ["auto", "cpu", *present_kinds()])


def complete_thresholds(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The names of thresholds."""
    from facecli.thresholds import NAMES  # noqa: PLC0415

    return _beginning(incomplete, NAMES)


def _beginning(incomplete: str, names: list[str] | tuple[str, ...]) -> list[CompletionItem[str]]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_people(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """The names of the people of the index."""
    from facecli.errors import FacecliError  # noqa: PLC0415
    from facecli.searching.query_parser import PERSON_PREFIX  # noqa: PLC0415
    from facecli.store.locate import find_index  # noqa: PLC0415
    from facecli.store.reader import open_reader  # noqa: PLC0415

    try:
        with open_reader(find_index(ctx.params.get("index"), os.getcwd())) as reader:
            people = reader.people.standing().people.values()
    except (FacecliError, OSError):
        return []
    begun = PERSON_PREFIX if incomplete.startswith(PERSON_PREFIX) else ""
    names = sorted(f"{begun}{person.name}" for person in people if person.name)
    return [_quoted(item) for item in _beginning(incomplete, names)]


def complete_queries(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Files, and the names of people."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415

    return [CompletionItem(incomplete, type="file"), *complete_people(ctx, param, incomplete)]


def _quoted(item: CompletionItem[str]) -> CompletionItem[str]:
    """A name as bash inserts it, which quotes nothing itself; the other shells do.

    Twice, since click's script for bash takes one backslash away.
    """
    if os.environ.get("_FACECLI_COMPLETE") == "bash_complete":
        item.value = re.sub(r"([^\w@%+=:,./-])", r"\\\\\1", item.value)
    return item
