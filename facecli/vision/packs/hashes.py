"""SHA-256 of model files, cached while a file stays the same: hashing 174 MB takes longer than a search."""

from __future__ import annotations

import os
import stat
import time

from facecli.cache import add_to_record, read_record
from facecli.errors import PackError

RECORD = "hashes"
SETTLED_SECONDS = 2.0
"""The hash of a file younger than this is not cached: the file may change again within the resolution of its
timestamps."""


def file_sha256(path: str, *, afresh: bool = False) -> str:
    """SHA-256 of a file in lower-case hexadecimal; raises PackError if it cannot be read.

    The cached hash is valid while size, modification time, change time and inode are the same; `afresh` ignores it.
    """
    try:
        seen = os.stat(path)
        if not stat.S_ISREG(seen.st_mode):
            raise PackError("a model is not a regular file", path)
        state = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino]
        if not afresh:
            known = read_record(RECORD).get(path)
            if isinstance(known, list) and known[:-1] == state:
                return str(known[-1])
        with open(path, "rb") as file:
            import hashlib  # noqa: PLC0415  # loads OpenSSL, which is rarely needed

            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PackError(f"a model cannot be read ({error.strerror})", path) from error
    if time.time() - max(seen.st_mtime, seen.st_ctime) > SETTLED_SECONDS:
        add_to_record(RECORD, {path: [*state, digest]})
    return digest
