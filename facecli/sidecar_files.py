"""Files that other programs write, too: one that somebody else has written since it was read is left alone."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from facecli.errors import FacecliError, OutputError
from facecli.whole_files import Part
from facecli.xmp import MOST_BYTES

_ABSENT = (errno.ENOENT, errno.ENAMETOOLONG)
"""There is no file, or there can be none: a photo's name may be too long for a suffix."""


class SharedFile:
    """A file that is read and then replaced. A link stays, and what it leads to is replaced."""

    def __init__(self, path: str) -> None:
        """Raises FacecliError if the path is a link that leads nowhere, or no regular file: a pipe may never end."""
        self.path = os.path.realpath(path) if os.path.islink(path) else path
        self._before = _state(self.path)
        if self._before is None and self.path != path:
            raise FacecliError("a link that leads nowhere", path)
        if self._before is not None and not stat.S_ISREG(self._before.st_mode):
            raise FacecliError("not a regular file", path)

    def read(self) -> bytes | None:
        """The content, or a little more than XMP may have of it; None if there is no file."""
        if self._before is None:
            return None
        try:
            with open(self.path, "rb") as file:
                return file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FacecliError(f"the sidecar cannot be read ({error.strerror})", self.path) from error

    def ask_writable(self) -> None:
        """Raise FacecliError if the file is read-only, or was written by somebody since this was made."""
        now, before = _state(self.path), self._before
        if _version(now) != _version(before):
            raise FacecliError("somebody else has just written it", self.path, hint="try it again")
        if before is not None and not before.st_mode & 0o222:
            raise FacecliError("it is read-only", self.path, hint="chmod u+w makes it writable")

    def replace(self, content: bytes) -> None:
        """Write the whole file: a new one for whom the umask leaves it, an earlier one for whom it was before."""
        try:
            with Part(os.path.dirname(self.path)) as part:
                part.fill([content])
                if self._before is None:
                    os.chmod(part.path, _mode_of_new_files())
                else:
                    with contextlib.suppress(PermissionError):
                        os.chown(part.path, self._before.st_uid, self._before.st_gid)
                    os.chmod(part.path, self._before.st_mode & 0o777)
                self.ask_writable()
                part.become(self.path) if self._before is None else part.replace(self.path)
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", self.path) from error


def _mode_of_new_files() -> int:
    """What the umask leaves; it can be read only by setting it, here to what lets nobody else read anything."""
    umask = os.umask(0o077)
    os.umask(umask)
    return 0o666 & ~umask


def _state(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise FacecliError(f"cannot be read ({error.strerror})", path) from error


def _version(state: os.stat_result | None) -> tuple[int, ...] | None:
    return None if state is None else (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)
