"""`facecli check`: the proof that an index is whole, and its repair."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from facecli.cli.choices import number
from facecli.cli.console import Console
from facecli.cli.context import path_style
from facecli.cli.options import Common, ExampleCommand, common_options
from facecli.cli.streams import Results, results
from facecli.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = """
facecli check             exit code 0: sound, 1: not, with a line for each thing that does not agree
facecli check --repair    write anew what is derived, mark damaged photos to be looked at again
"""
MOST_LINES = 1000
"""Problems that are named one by one."""


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=number("wait_seconds"),
    default=0.0,
    help="With --repair: wait for another writer to end.",
)
@common_options
def check(common: Common, *, repair: bool, wait: float) -> int:
    """Prove that every face has its vector and every vector its face, and that all checksums agree.

    What a killed run leaves behind (vectors that were never committed, an erasure that waits) is sound. Exit code 0:
    sound, 1: not, 2: the index cannot be read.
    """
    from facecli.store.locate import find_index  # noqa: PLC0415 (likewise)
    from facecli.store.writer import repair_index  # noqa: PLC0415 (not for --help)

    directory = find_index(common.index, os.getcwd())
    console = Console(quiet=common.quiet, verbose=common.verbose)
    with results(lasting=repair) as out:
        problems = _name_problems(directory, common, out)
        if repair:
            for done in repair_index(directory, wait_seconds=wait):
                console.warn(done)
            problems = _name_problems(directory, common, out)
    return 1 if problems else 0


def _name_problems(directory: Path, common: Common, out: Results) -> int:
    """Name everything that does not agree; how much that is."""
    from facecli.output.paths import encoded, tsv_path  # noqa: PLC0415 (not for --help)
    from facecli.store.reader import open_reader  # noqa: PLC0415 (likewise)

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
