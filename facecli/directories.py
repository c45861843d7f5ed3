"""Where the user's own things lie: the cache, InsightFace's packs; and how any path is made absolute."""

from __future__ import annotations

import errno
import os
from pathlib import Path

NO_HOME = "there is no home directory"


def absolute(path: str) -> str:
    """The absolute path, tidied, with one slash at its beginning: POSIX allows two, which would be another name of the same file."""
    return "/" + os.path.abspath(path).lstrip("/")


def cache_directory() -> Path:
    """The user's cache: rewritten graphs, answers of trials, manifests of unknown packs. Raises FileNotFoundError where there is none."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and os.path.isabs(base) else home_directory() / ".cache") / "facecli"


def insightface_directory() -> Path:
    """Where InsightFace keeps its packs. Raises FileNotFoundError where there is no home directory."""
    return home_directory() / ".insightface" / "models"


def home_directory() -> Path:
    """The user's home directory: a container's arbitrary user may have none, neither by HOME nor in the list of users."""
    named = os.environ.get("HOME", "")
    if not os.path.isabs(named):
        import pwd  # noqa: PLC0415  # HOME is set almost everywhere

        try:
            named = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            named = ""
    if not os.path.isabs(named):
        raise FileNotFoundError(errno.ENOENT, NO_HOME)
    return Path(named)
