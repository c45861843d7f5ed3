"""File systems: their mount points, bind mounts included, and whether their inodes are stable."""

from __future__ import annotations

import os
import re
import sys

from facecli.types import LARGEST, PhotoFile

_STATFS_BYTES = 4096
"""More than the size of `struct statfs` on any system."""
_NAME_AT_MAC = 72
"""Offset of the file system's name in it on macOS; on Linux it begins with the file system's number."""
_KEEPING = (0xEF53, 0x58465342, 0x9123683E, 0x2FC12FC1)
"""Numbers of ext2 to ext4, XFS, Btrfs and ZFS, from Linux's magic.h and from OpenZFS."""


def mounts_below(root: str) -> frozenset[str]:
    """The mount points below a root, as paths that begin with `root`; empty if the system has no list of them."""
    real = os.path.realpath(root)
    below = real if real.endswith("/") else real + "/"
    shown = root if root.endswith("/") else root + "/"
    return frozenset(
        shown + point[len(below) :] for point in _mount_points() if point.startswith(below) and point != below
    )


def is_mount(path: str) -> bool:
    """Whether a path is a mount point now."""
    return os.path.realpath(path) in _mount_points() or os.path.ismount(path)


def mount_of(path: str) -> str:
    """The nearest mount point at or above a path, as a prefix of that path."""
    points, place = _mount_points(), path
    while place != "/" and os.path.realpath(place) not in points and not os.path.ismount(place):
        place = os.path.dirname(place)
    return place


def file_system_of(path: str) -> int | None:
    """The number of the file system at a path (f_fsid), which many derive from their UUID, others from their device."""
    try:
        return os.statvfs(path).f_fsid & LARGEST
    except OSError:
        return None


def _mount_points() -> frozenset[str]:
    """All mount points; empty if the system has no list of them."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            return frozenset(os.fsdecode(_unescape(line.split(b" ", 5)[4])) for line in file if line.count(b" ") > 4)
    except OSError:
        return frozenset()


class FileSystems:
    """Whether file systems have stable inodes, so that inode and ctime show that a file was replaced.

    Inodes change on network file systems and container layers, and FAT has none: there only size and mtime count.
    """

    def __init__(self) -> None:
        self._stable: dict[int, bool] = {}

    def file_at(self, path: str, state: os.stat_result) -> PhotoFile:
        """A file with the properties that show later whether it was replaced."""
        is_stable = self._stable.get(state.st_dev)
        if is_stable is None:
            is_stable = self._stable[state.st_dev] = keeps_inodes(path)
        return PhotoFile.seen(path, state, is_stable=is_stable)


def keeps_inodes(path: str) -> bool:
    """Whether a path lies on ext2 to ext4, XFS, Btrfs, ZFS or APFS; False if that is unknown."""
    import ctypes  # noqa: PLC0415 (not needed by a search)

    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    try:
        library = ctypes.CDLL(None)
        statfs = getattr(library, "statfs$INODE64", None) or library.statfs
        if statfs(os.fsencode(path), buffer) != 0:
            return False
    except (AttributeError, OSError, ValueError):
        return False
    if sys.platform == "darwin":
        return buffer.raw[_NAME_AT_MAC:].startswith(b"apfs\0")
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) in _KEEPING


def _unescape(name: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes((int(m[1], 8),)), name)
