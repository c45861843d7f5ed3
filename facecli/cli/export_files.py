"""`search --link-to` and `--copy-to`: link or copy the photos found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from facecli.cli.console import Console
from facecli.cli.streams import say_error
from facecli.errors import PhotoError
from facecli.wording import counted

if TYPE_CHECKING:
    from facecli.output.placing import Folder
    from facecli.output.records import PathStyle
    from facecli.photos.recorded import Recorded


def collect_photos(
    originals: Sequence[Recorded], folder: Folder, style: PathStyle, console: Console, *, copy: bool
) -> int:
    """Link or copy photos into a folder; returns the number of photos that failed.

    A photo fails, with a message, if it has changed since it was indexed. Raises OutputError if the folder cannot be
    written.
    """
    failed = 0
    for original in originals:
        try:
            place = folder.copy(original) if copy else folder.link(original)
        except PhotoError as error:
            failed += 1
            say_error(f"skipped, {error.what}: {style.show(original.path)}", "")
        else:
            _tell(original.path, place, folder, style, console)
    if originals and not folder.dry_run:
        done = "copied to" if copy else "linked in"
        there = len(originals) - failed - folder.made
        console.warn(
            f"{counted(folder.made, 'photo')} {done} {folder.directory}"
            + (f", {there:,} there already" if there else "")
        )
    return failed


def _tell(path: str, place: str, folder: Folder, style: PathStyle, console: Console) -> None:
    line = f"{style.show(path)} -> {place}"
    if folder.dry_run:
        console.warn(f"would create {line}")
    else:
        console.detail(line)
