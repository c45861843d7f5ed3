"""Detect network file systems, where SQLite's shared memory is not reliable."""

from __future__ import annotations

import os
from pathlib import Path

_NETWORK = {
    "9p",
    "acfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "gfs2",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
    "smbfs",
    "vboxsf",
}
_KERNEL_TABLE = "/proc/self/mountinfo"


def is_network(directory: Path) -> bool:
    """Whether a directory is on a network or FUSE file system by the kernel's mount table; False without that table."""
    try:
        with open(_KERNEL_TABLE, "rb") as table:
            kinds = mount_kinds(table.read())
    except OSError:
        return False
    device = os.stat(directory).st_dev
    kind = kinds.get(f"{os.major(device)}:{os.minor(device)}", "")
    return kind in _NETWORK or kind.startswith("fuse")


def mount_kinds(table: bytes) -> dict[str, str]:
    """The file system type of each device, by "major:minor", from the text of /proc/self/mountinfo."""
    kinds: dict[str, str] = {}
    for line in table.decode("utf-8", "replace").splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) > 2 and rest:
            kinds[fields[2]] = rest[0]
    return kinds
