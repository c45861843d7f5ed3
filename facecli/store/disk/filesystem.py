"""Whether a directory lies on a network file system, where SQLite's shared memory cannot be trusted."""

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
    """Whether the kernel's table of mounts says so; a system without that table is taken to be local."""
    try:
        with open(_KERNEL_TABLE, "rb") as table:
            kinds = mount_kinds(table.read())
    except OSError:
        return False
    device = os.stat(directory).st_dev
    kind = kinds.get(f"{os.major(device)}:{os.minor(device)}", "")
    return kind in _NETWORK or kind.startswith("fuse")


def mount_kinds(table: bytes) -> dict[str, str]:
    """The kind of file system of each device, by "major:minor", from the text of /proc/self/mountinfo."""
    kinds: dict[str, str] = {}
    for line in table.decode("utf-8", "replace").splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) > 2 and rest:
            kinds[fields[2]] = rest[0]
    return kinds
