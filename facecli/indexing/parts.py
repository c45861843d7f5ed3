"""Parts of a collection, for runs that know nothing of each other: by a hash of each photo's path below its root."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

import xxhash

from facecli.config import read_part
from facecli.errors import UsageError
from facecli.indexing.prune_policy import is_below, outermost
from facecli.photos.walk import everything
from facecli.store.records import IndexInfo


def settle_part(asked: str | None, about: IndexInfo | None) -> str:
    """The part of a run: the one asked for, else that of the index; empty for all photos.

    Raises UsageError where the index is restricted to another part, or holds photos and is not restricted.
    """
    if asked is None or (about is not None and asked == about.part):
        return about.part if about is not None else ""
    if about is not None and (about.part or about.photos):
        held = f"part {about.part}" if about.part else "all parts"
        hint = f"facecli index --part {asked} -i DIR puts it into an index of its own; facecli merge unites them"
        raise UsageError(f"the index is for {held} of the photos, not part {asked}", about.directory, hint=hint)
    return asked


def membership(part: str, roots: Sequence[str], exempt: Iterable[str] = ()) -> Callable[[str], bool]:
    """Whether a path belongs to a part, which is empty for all photos.

    The hash is of the bytes of the path below the outermost of `roots` above it, and of the whole path where there is
    none, so that every machine gives the same answer, wherever it has mounted the photos. `exempt` belong to the part
    in any case.
    """
    if not part:
        return everything
    one, of = read_part(part)
    tops, kept = outermost(roots), frozenset(exempt)

    def belongs(path: str) -> bool:
        top = next((top for top in tops if is_below(path, top)), "")
        inner = os.fsencode(path[len(top.rstrip("/")) :])
        return xxhash.xxh3_64_intdigest(inner) % of == one - 1 or path in kept

    return belongs
