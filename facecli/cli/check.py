"""`facecli check`: verify that an index is consistent, and repair it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from facecli.cli.choices import number
from facecli.cli.context import path_style
from facecli.cli.options import Common, ExampleCommand, common_options
from facecli.cli.streams import Results, results
from facecli.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """
facecli check             exit code 0: sound, 1: not sound, with one line per problem
facecli check --repair    rebuild derived data, mark damaged photos to be indexed again
"""
MOST_LINES = 1000
"""Maximum number of problems that are printed."""


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.option("--repair", is_flag=True, help="Repair what can be repaired.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=number("wait_seconds"),
    default=0.0,
    help="With --repair: seconds to wait for another writer.",
)
@common_options
def check(common: Common, *, repair: bool, wait: float) -> int:
    """Check that every face has its embedding, every embedding its face, and that all checksums match.

    Leftovers of a killed run (uncommitted embeddings, an unfinished erasure) are sound. Exit code 0: sound, 1: not
    sound, 2: the index cannot be read.
    """
    from facecli.store.locate import find_index  # noqa: PLC0415 (not for --help)
    from facecli.store.writer import repair_index  # noqa: PLC0415 (not for --help)

    directory = find_index(common.index, os.getcwd())
    console = common.console()
    with results(lasting=repair) as out:
        problems = _name_problems(directory, common, out)
        if repair:
            for done in repair_index(directory, wait_seconds=wait):
                console.warn(done)
            problems = _name_problems(directory, common, out)
    return 1 if problems else 0


def _name_problems(directory: Path, common: Common, out: Results) -> int:
    """Print the problems; returns their number."""
    from facecli.output.paths import encoded, tsv_path  # noqa: PLC0415 (not for --help)
    from facecli.store.reader import open_reader  # noqa: PLC0415 (not for --help)

    style, count = path_style(common), 0
    with open_reader(directory) as reader:
        for count, problem in enumerate(reader.check(), 1):
            if count <= MOST_LINES:
                out.write(encoded(f"{problem.what}: ") + tsv_path(style.show(problem.where)) + b"\n")
                out.flush()
        about = reader.info
    if count > MOST_LINES:
        out.line(f"and {count - MOST_LINES} more")
    if not count:
        out.line(f"sound: {counted(about.photos, 'photo')}, {counted(about.faces, 'face')}")
    out.flush()
    return count
