"""Where the index is: named, or the nearest .facecli at or above the working directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from facecli.config import CATALOGUE_NAME, INDEX_NAME
from facecli.directories import absolute
from facecli.errors import IndexMissing, StoreError

MAKE_ONE = "facecli index PHOTOS makes one; -i DIR names another"


def find_index(named: str | None, working_directory: str) -> Path:
    """The directory of an index that is there: `named` (-i, FACECLI_INDEX), else the nearest .facecli at or above.

    One found by walking up must belong to the user, as git asks of its own: whoever can write to a directory above could else
    choose what facecli reads.
    """
    if named is not None:
        directory = named_directory(named, working_directory)
        if not os.path.lexists(directory):
            raise IndexMissing("there is no index", directory, hint=MAKE_ONE)
        return _checked(directory)
    found = _nearest(working_directory)
    if found is None:
        raise IndexMissing("there is no index at or above", working_directory, hint=MAKE_ONE)
    return found


def place_index(named: str | None, working_directory: str) -> Path:
    """The directory that `facecli index` writes to: like `find_index`, and ./.facecli where there is none."""
    if named is not None:
        return named_directory(named, working_directory)
    return _nearest(working_directory) or Path(working_directory) / INDEX_NAME


def named_directory(named: str | os.PathLike[str], working_directory: str = "") -> Path:
    """The absolute path of an index that is named."""
    if not os.fspath(named):
        raise StoreError("the index is named by an empty string", hint="-i DIR or FACECLI_INDEX=DIR names one")
    return Path(absolute(os.path.join(working_directory, named)))


def _nearest(working_directory: str) -> Path | None:
    """The nearest .facecli at or above, if it is the user's own."""
    above = Path(working_directory)
    for directory in (above, *above.parents):
        candidate = directory / INDEX_NAME
        if candidate.is_dir():
            if candidate.stat().st_uid != os.geteuid():
                raise StoreError("the index belongs to another user", candidate, hint=f"use it all the same with -i {candidate}")
            return candidate
    return None


def _checked(directory: Path) -> Path:
    try:
        mode = directory.stat().st_mode
    except OSError as error:
        raise StoreError(f"the index cannot be opened ({error.strerror})", directory) from error
    if not stat.S_ISDIR(mode):
        raise StoreError("the index is not a directory", directory, hint=MAKE_ONE)
    return directory


def is_index(directory: Path) -> bool:
    """Whether a directory holds a catalogue."""
    return os.path.lexists(directory / CATALOGUE_NAME)


def belongs_to_another(directory: Path) -> bool:
    """Whether another user made an index, or the catalogue in it."""
    return any(os.stat(path, follow_symlinks=False).st_uid != os.geteuid() for path in (directory, directory / CATALOGUE_NAME))
