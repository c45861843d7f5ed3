"""What a search does with its matches beside printing them: links and copies of the photos."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from facecli.cli.console import Console
from facecli.cli.streams import say_error
from facecli.words import counted

if TYPE_CHECKING:
    from facecli.output.placing import Folder
    from facecli.output.records import PathStyle
    from facecli.types import SearchResult


def collect_photos(results: Iterable[SearchResult], folder: Folder, style: PathStyle, console: Console, *, copy: bool) -> int:
    """Link or copy each matched photo into the folder, once; the number of photos that could not be copied, each named.

    Raises OutputError where the folder cannot be written.
    """
    paths = dict.fromkeys(match.path for result in results for match in result.matches)
    failed = 0
    for path in paths:
        try:
            place = folder.copy(path) if copy else folder.link(path)
        except OSError as error:
            failed += 1
            say_error(f"the photo cannot be copied ({error.strerror}): {style.show(path)}", "")
        else:
            _tell(path, place, folder, style, console)
    if paths and not folder.dry_run:
        done = "copied to" if copy else "linked in"
        there = len(paths) - failed - folder.made
        console.warn(f"{counted(folder.made, 'photo')} {done} {folder.directory}" + (f", {there:,} there already" if there else ""))
    return failed


def _tell(path: str, place: str, folder: Folder, style: PathStyle, console: Console) -> None:
    line = f"{style.show(path)} -> {place}"
    if folder.dry_run:
        console.warn(f"would make {line}")
    else:
        console.detail(line)
