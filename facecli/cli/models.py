"""`facecli models`: list, download and verify model packs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from facecli.cli.command_first import CommandFirst
from facecli.cli.completing import complete_models, complete_packs
from facecli.cli.names import Name
from facecli.cli.options import Common, common_options
from facecli.cli.streams import results
from facecli.errors import PackError
from facecli.output.paths import encoded, printable

if TYPE_CHECKING:
    from facecli.vision.packs.inventory import FileState, PackState

EPILOG = """\b
Examples:
  facecli models                      list the packs and their state
  facecli models pull buffalo_l       download a pack from InsightFace
  facecli models verify               verify the hashes of all installed packs
  facecli index -m buffalo_l photos   use a pack
"""
HEADER = ("NAME", "DETECTOR", "RECOGNISER", "DIMENSION", "MB", "TIME", "ACCURACY", "STATE", "SHA-256", "LICENCE")


class DefaultList(CommandFirst):
    """A group whose default command is `list`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = self.command_first(args)
        if not ctx.resilient_parsing and (not args or (args[0].startswith("-") and args[0] not in ("--help", "-h"))):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultList, epilog=EPILOG)
def models() -> None:
    """List, download and verify model packs; without a command, list them.

    All models of InsightFace are for non-commercial research only.
    """


@models.command("list")
@common_options
def list_command(common: Common) -> None:
    """List the packs and their state.

    MB is the size of its two files. TIME is the arithmetic for a photo of three faces, as a multiple of the default
    pack's. ACCURACY is the share of pairs of one person that are recognised at a false-match rate of one in a million,
    as published (MR-ALL).
    """
    from facecli.vision.packs.inventory import list_packs  # noqa: PLC0415

    with results() as out:
        shown = printable if out.terminal else str
        rows = [HEADER, *(tuple(map(shown, _row(state))) for state in list_packs())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
        for number, row in enumerate(rows):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            out.draw(encoded(click.style(line, bold=True) if common.colour and number == 0 else line) + b"\n")


@models.command()
@click.argument("name", type=Name(), shell_complete=complete_packs)
@common_options
def pull(common: Common, name: str) -> None:
    """Download a pack, verify it, and print its directory.

    Resumes an interrupted download. FACECLI_MODELS_URL sets another URL to download NAME.zip from.
    """
    from facecli.vision.packs.download import pull_pack  # noqa: PLC0415
    from facecli.vision.packs.known import LICENCE, PACKS, known_pack, refused_pack  # noqa: PLC0415

    pack = known_pack(name)
    if pack is None:
        refused = refused_pack(name)
        if refused is not None:
            raise PackError(
                f"facecli cannot use this model pack ({refused.why})", name, hint="use another, such as buffalo_l"
            )
        raise PackError("there is no model pack of this name", name, hint="one of " + ", ".join(p.name for p in PACKS))
    console = common.console()
    directory = pull_pack(pack, console)
    console.warn(f"{name}: {LICENCE}")
    with results() as out:
        out.line(directory)


@models.command()
@click.argument("name", type=Name(), shell_complete=complete_models)
@common_options
def path(_common: Common, name: str) -> None:
    """Print the directory of an installed, undamaged pack."""
    from facecli.vision.packs.resolve import find_pack  # noqa: PLC0415

    with results() as out:
        out.line(find_pack(name).directory)


@models.command()
@click.argument("name", required=False, type=Name(), shell_complete=complete_models)
@common_options
def verify(_common: Common, name: str | None) -> int:
    """Verify the hashes of a pack, or of all installed packs.

    Exit code 0: all match, 1: a file is damaged.
    """
    from facecli.vision.packs.inventory import Presence, check_known, check_named  # noqa: PLC0415
    from facecli.vision.packs.known import PACKS  # noqa: PLC0415

    states = [check_named(name)] if name is not None else [check_known(pack, afresh=True) for pack in PACKS]
    here = [state for state in states if state.presence is not Presence.ABSENT]
    if not here:
        raise PackError(
            "this model pack is not on this machine", name or "any", hint=f"facecli models pull {name or 'NAME'}"
        )
    with results() as out:
        for state in here:
            for file in state.files:
                out.line(f"{state.name}  {_verdict(file)}  {file.path}")
    return 0 if all(file.sound for state in here for file in state.files) else 1


def _row(state: PackState) -> tuple[str, ...]:
    """The row of a pack in the table."""
    from facecli.vision.packs.inventory import Presence  # noqa: PLC0415

    hashes = {Presence.PRESENT: "as published" if state.files else "", Presence.DAMAGED: "differs"}.get(
        state.presence, ""
    )
    size = str(state.dimension or "")
    return (
        state.name,
        state.detector.removesuffix(".onnx") or "?",
        state.recogniser.removesuffix(".onnx") or "?",
        size or "?",
        *_figures(state),
        str(state.presence),
        hashes or "-",
        state.licence,
    )


def _figures(state: PackState) -> tuple[str, str, str]:
    """Size, time and accuracy, where they are known."""
    from facecli.vision.packs.known import PACKS  # noqa: PLC0415

    pack = state.known
    if pack is None:
        return "?", "?", "?"
    size = sum(model.size for model in pack.models) / 1e6
    return f"{size:.0f}", f"{pack.work / PACKS[0].work:.0f}x", f"{pack.recogniser.accuracy:.0f} %"


def _verdict(file: FileState) -> str:
    if not file.found:
        return "missing"
    if not file.sound:
        return f"WRONG (SHA-256 {file.found}, expected {file.expected})"
    return "ok" if file.expected else f"unknown (SHA-256 {file.found})"
