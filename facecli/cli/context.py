"""The context of a command: the terminal, the style of paths, the nearest index."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from facecli.errors import IndexMissing

if TYPE_CHECKING:
    from facecli.cli.options import Common
    from facecli.output.records import PathStyle
    from facecli.output.terminal import Terminal
    from facecli.store.records import IndexInfo


def terminal_of(common: Common) -> Terminal:
    """The capabilities of stdout."""
    import shutil  # noqa: PLC0415 (not for --help)

    from facecli.output.terminal import Terminal, links_work  # noqa: PLC0415

    return Terminal(shutil.get_terminal_size().columns, common.colour, sys.stdout.isatty() and links_work(os.environ))


def path_style(common: Common) -> PathStyle:
    """How paths are shown."""
    from facecli.output.records import PathStyle  # noqa: PLC0415

    return PathStyle(common.absolute, os.getcwd())


def now() -> str:
    """The local time with its offset from UTC, in ISO 8601."""
    import datetime as dt  # noqa: PLC0415 (not for --help)

    return dt.datetime.now().astimezone().isoformat(timespec="seconds")


def info_nearby(common: Common) -> IndexInfo | None:
    """The index whose pack a command uses although it needs no index; None if there is none."""
    from facecli.store.locate import find_index  # noqa: PLC0415
    from facecli.store.reader import open_reader  # noqa: PLC0415

    try:
        directory = find_index(common.index, os.getcwd())
    except IndexMissing:
        return None
    with open_reader(directory) as reader:
        return reader.info
