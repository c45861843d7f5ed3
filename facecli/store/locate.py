"""Find the index: a named directory, or the nearest .facecli at or above the working directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from facecli.config import CATALOGUE_NAME, INDEX_NAME
from facecli.directories import absolute
from facecli.errors import IndexMissing, StoreError

MAKE_ONE = "facecli index PHOTOS makes one; -i DIR names another"


def find_index(named: str | None, working_directory: str) -> Path:
    """Find the directory of an existing index: `named` (-i, FACECLI_INDEX), else the nearest .facecli at or above.

    A .facecli found by walking up must belong to the user, as git requires of repositories: otherwise anyone who can
    write to a directory above could choose what facecli reads. Raises IndexMissing where there is no index, StoreError
    where it is not a directory, cannot be opened or belongs to another user.
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
    """The directory that `facecli index` writes to: as in `find_index`, or ./.facecli where there is none."""
    if named is not None:
        return named_directory(named, working_directory)
    return _nearest(working_directory) or Path(working_directory) / INDEX_NAME


def named_directory(named: str | os.PathLike[str], working_directory: str = "") -> Path:
    """The absolute path of a named index; raises StoreError where the name is empty."""
    if not os.fspath(named):
        raise StoreError("the name of the index is an empty string", hint="-i DIR or FACECLI_INDEX=DIR names one")
    return Path(absolute(os.path.join(working_directory, named)))


def _nearest(working_directory: str) -> Path | None:
    """The nearest .facecli at or above; raises StoreError where it belongs to another user."""
    above = Path(working_directory)
    for directory in (above, *above.parents):
        candidate = directory / INDEX_NAME
        if candidate.is_dir():
            if candidate.stat().st_uid != os.geteuid():
                raise StoreError(
                    "the index belongs to another user", candidate, hint=f"use it anyway with -i {candidate}"
                )
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
    """Whether the index directory or its catalogue belongs to another user."""
    return any(
        os.stat(path, follow_symlinks=False).st_uid != os.geteuid() for path in (directory, directory / CATALOGUE_NAME)
    )
