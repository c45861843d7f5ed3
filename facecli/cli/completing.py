"""What the shell offers for values that are no plain files: packs, devices, thresholds."""

from __future__ import annotations

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
