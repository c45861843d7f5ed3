"""SHA-256 of model files, remembered as long as the file stays the same: hashing 174 MB at each start would cost more than a search."""

from __future__ import annotations

import os
import stat
import time

from facecli.cache import add_to_record, read_record
from facecli.errors import PackError

RECORD = "hashes"
SETTLED_SECONDS = 2.0
"""A file younger than this may change once more within the tick of its clock, and is hashed again."""


def file_sha256(path: str, *, afresh: bool = False) -> str:
    """The SHA-256 of a file in lower-case hexadecimal digits; raises PackError where it cannot be read.

    The remembered answer holds while size, modification time, change time and inode are the same, and is not asked with
    `afresh`.
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
            import hashlib  # noqa: PLC0415  # it loads OpenSSL, and a model is hashed once

            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PackError(f"a model cannot be read ({error.strerror})", path) from error
    if time.time() - max(seen.st_mtime, seen.st_ctime) > SETTLED_SECONDS:
        add_to_record(RECORD, {path: [*state, digest]})
    return digest
