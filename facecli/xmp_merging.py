"""Names for another program's XMP data: everything that its lists of regions hold stays, and only names come in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from xml.etree import ElementTree as ET

from msgspec import Struct

from facecli.errors import FacecliError
from facecli.regions import SAME, Area, Region, RegionItems, overlap, region_items
from facecli.xmp import (
    MP_NAME,
    MWG_NAME,
    mp_area,
    mp_items,
    mwg_area,
    mwg_items,
    parse_xmp,
    people_named,
    read_xmp,
    rename,
)


class Merged(Struct, frozen=True):
    """The lists of a file with the names of an index."""

    items: RegionItems
    people: tuple[str, ...]
    changed: bool
    """Whether they are other than before."""


class _List(Struct):
    """What became of one list."""

    missing: list[Region]
    before: set[str]
    """Names that are no longer where they were."""
    changed: bool = False


def put_names(data: bytes, where: str, mine: Sequence[Region]) -> Merged:
    """Put the names of an index into XMP data; raises FacecliError where it cannot be read.

    A region of the same face gets the name and keeps the rest; regions without a name, of pets, or with a program's own
    properties stay. Regions that are in one kind of list only go into the other, too.
    """
    root, theirs = parse_xmp(data, where), read_xmp(data, where).regions
    others = [one for one in theirs if all(overlap(one.area, my.area) < SAME for my in mine)]
    mwg, mp = list(mwg_items(root)), list(mp_items(root))
    lists = [_put(*one, mine, others) for one in ((mwg, mwg_area, MWG_NAME), (mp, mp_area, MP_NAME))]
    new = region_items(*(one.missing for one in lists))
    stay = {one.name for one in (*mine, *others)}
    gone = set().union(*(one.before for one in lists)) - stay
    people = people_named(root)
    named = tuple(dict.fromkeys([name for name in people if name not in gone] + [one.name for one in mine]))
    try:
        items = RegionItems((*map(_raw, mwg), *new.mwg), (*map(_raw, mp), *new.mp))
    except RecursionError as error:
        raise FacecliError("nested too deeply for XMP", where) from error
    return Merged(items, named, named != people or any(one.changed for one in lists))


def _put(
    items: Iterable[ET.Element],
    area_of: Callable[[ET.Element], Area | None],
    place: tuple[str, str],
    mine: Sequence[Region],
    others: Sequence[Region],
) -> _List:
    """Give the items of one list the names of regions at the same place."""
    done = _List([*mine, *others], set())
    for item in items:
        area = area_of(item)
        here = None if area is None else _nearest(area, (*mine, *others))
        if here is None:
            continue
        done.missing = [one for one in done.missing if one is not here]
        if any(one is here for one in mine):
            before = rename(item, place, here.name)
            done.before |= {before} - {here.name}
            done.changed |= before != here.name
    done.changed |= bool(done.missing)
    return done


def _nearest(area: Area, regions: Sequence[Region]) -> Region | None:
    """The region that has most in common with an area; None if none is of the same face."""
    best = max(regions, key=lambda one: overlap(one.area, area), default=None)
    return best if best is not None and overlap(best.area, area) >= SAME else None


def _raw(item: ET.Element) -> str:
    item.tail = None
    return "\n     " + ET.tostring(item, encoding="unicode")
