"""Directories of the user: home, cache, InsightFace's packs; absolute paths, and paths that no longer exist."""

from __future__ import annotations

import errno
import os
from pathlib import Path

NO_HOME = "there is no home directory"


def absolute(path: str) -> str:
    """The absolute path, normalised, with a single leading slash.

    POSIX allows two leading slashes, which would give one file two names.
    """
    return "/" + os.path.abspath(path).lstrip("/")


def is_gone(path: str) -> bool:
    """Whether the path no longer exists; False on any other error, which proves nothing."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def cache_directory() -> Path:
    """The user's cache: rewritten graphs, results of trials, manifests of unknown packs.

    Raises FileNotFoundError if there is no home directory.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and os.path.isabs(base) else home_directory() / ".cache") / "facecli"


def insightface_directory() -> Path:
    """The directory of InsightFace's packs; raises FileNotFoundError if there is no home directory."""
    return home_directory() / ".insightface" / "models"


def home_directory() -> Path:
    """The user's home directory, from HOME or the user database; raises FileNotFoundError if neither has one.

    A container that runs as an arbitrary user id may have none.
    """
    named = os.environ.get("HOME", "")
    if not os.path.isabs(named):
        import pwd  # noqa: PLC0415 (HOME is almost always set)

        try:
            named = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            named = ""
    if not os.path.isabs(named):
        raise FileNotFoundError(errno.ENOENT, NO_HOME)
    return Path(named)
