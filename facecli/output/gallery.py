"""A search as one self-contained HTML page: the query faces on top, the matches as cards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from facecli.output.offline_page import data_url, escaped, offline_page
from facecli.output.records import similarity_text
from facecli.types import Box, JsonValue

MINUS = "\N{MINUS SIGN}"
_SORTING = """<label>Sort by <select id="sort">
<option value="similarity">similarity</option><option value="time">time</option><option value="folder">folder</option>
</select></label>
<button id="copy" type="button">Copy all paths</button>
"""


class GalleryPicture(Struct, frozen=True):
    """A photo on the page."""

    path: str
    """The path as displayed."""
    full_path: str
    url: str
    """The link to the photo; empty for a photo from stdin."""
    box: Box
    width: int = 0
    height: int = 0
    thumbnail: bytes = b""
    face: bytes = b""
    """JPEG files; empty if the photo cannot be shown."""
    trouble: str = ""
    """Why the photo cannot be shown."""


class Card(Struct, frozen=True):
    """A match on the page."""

    picture: GalleryPicture
    rank: int
    similarity: float
    face_id: int
    confidence: str
    """likely, possible or unlikely; empty if unknown."""
    time: str = ""
    """When the photo was taken, else when its file was written, ISO 8601; empty if unknown."""
    is_taken: bool = True
    """Whether `time` is that of the photo, not of its file."""
    others: str = ""
    """What else the card stands for: 3 copies; empty for one photo."""


class Section(Struct, frozen=True):
    """A query with its matches."""

    title: str
    queries: tuple[GalleryPicture, ...]
    cards: tuple[Card, ...]


class Gallery(Struct, frozen=True):
    """A whole page."""

    title: str
    """What was searched for, when, and in which index."""
    sections: Sequence[Section]
    summary: str
    """The number of matches, and of the faces and photos searched."""
    threshold: str
    confidence: str
    """What the words likely, possible and unlikely mean; empty if unknown."""
    provenance: Mapping[str, JsonValue]
    failures: Sequence[str] = ()
    """Why some queries are not on the page."""


def gallery_page(gallery: Gallery) -> Iterator[str]:
    """The page in pieces."""
    return offline_page(gallery.title, ("gallery",), _body(gallery))


def _body(gallery: Gallery) -> Iterator[str]:
    yield _head(gallery)
    yield "<main>\n"
    yield from (f'<p class="failure">Not searched for: {escaped(failure)}</p>\n' for failure in gallery.failures)
    for section in gallery.sections:
        yield from _section(section)
    yield "</main>\n"
    yield _foot(gallery)


def _head(gallery: Gallery) -> str:
    found = [card.similarity for section in gallery.sections for card in section.cards]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    # Rounded outwards, so that the slider's range includes all matches.
    least, most = int(low * 100 // 1) / 100, -int(-high * 100 // 1) / 100
    slider = (
        f'<label for="least">Similarity from <output id="from">{least:.2f}</output></label>\n'
        f'<input id="least" type="range" min="{least:.2f}" max="{most:.2f}" step="0.005" value="{least:.2f}">\n'
        f'<span id="count" aria-live="polite">{len(found)} of {len(found)}</span>\n'
    )
    return (
        f'<header>\n<p class="name">facecli</p>\n'
        f'<p class="summary">{escaped(gallery.title)}<br>{escaped(gallery.summary)}<br>'
        f"{escaped(gallery.threshold)}</p>\n"
        f'<div class="tools">\n{slider + _SORTING if found else ""}'
        f'<button id="theme" type="button">Light or dark</button>\n</div>\n</header>\n'
    )


def _section(section: Section) -> Iterator[str]:
    queries = "".join(map(_query, section.queries))
    yield f'<section>\n<div class="query">\n{queries}<h2>{escaped(section.title)}</h2>\n</div>\n'
    if section.cards:
        yield '<div class="cards">\n'
        yield from map(_card, section.cards)
        yield "</div>\n"
    else:
        yield '<p class="nothing">Not found.</p>\n'
    yield "</section>\n"


def _query(picture: GalleryPicture) -> str:
    if not picture.face:
        return f'<p class="trouble">{escaped(picture.trouble)}</p>\n'
    return f'<img class="asked" alt="Query face from {escaped(picture.path)}" src="{data_url(picture.face)}">\n'


def _card(card: Card) -> str:
    picture, path = card.picture, escaped(card.picture.path)
    similarity = similarity_text(card.similarity).replace("-", MINUS)
    confidence = f'<span class="confidence {card.confidence}">{card.confidence}</span>' if card.confidence else ""
    others = f'<span class="others">{escaped(card.others)}</span>' if card.others else ""
    date = card.time[:10] if card.is_taken or not card.time else f"file of {card.time[:10]}"
    return (
        f'<article tabindex="0" data-similarity="{card.similarity:.6f}" data-path="{escaped(picture.full_path)}" '
        f'data-time="{escaped(card.time)}" '
        f'aria-label="Match {card.rank}: {path}, similarity {card.similarity:.4f}">\n{_photo(card)}'
        f'<div class="facts"><span class="rank">{card.rank}</span>'
        f'<span class="similarity">{similarity}</span>{confidence}'
        f'</div>\n<p class="path">{_breakable(path)}</p>\n'
        f'<p class="more"><span>{escaped(date)}</span>{others}'
        f'<span class="face-id">face {card.face_id}</span></p>\n'
        f'<div class="doing"><a href="{escaped(picture.url)}">Open</a>'
        f'<button type="button" class="copy">Copy path</button>'
        f'<input type="checkbox" class="chosen" aria-label="Select {path}"></div>\n</article>\n'
    )


def _breakable(path: str) -> str:
    """A path that lines may break after each slash."""
    return path.replace("/", "/<wbr>")


def _photo(card: Card) -> str:
    picture = card.picture
    if not picture.thumbnail:
        return f'<div class="photo trouble">{escaped(picture.trouble)}</div>\n'
    x1, y1, x2, y2 = picture.box
    # The crop is shown in the lower corner that does not cover the face's box.
    corner = " left" if x1 + x2 > picture.width and y1 + y2 > picture.height else ""
    return (
        f'<a class="photo" href="{escaped(picture.url)}" tabindex="-1">'
        f'<img loading="lazy" decoding="async" width="{picture.width}" height="{picture.height}" '
        f'alt="Photo {escaped(picture.path)}" src="{data_url(picture.thumbnail)}">'
        f'<svg viewBox="0 0 {picture.width} {picture.height}" aria-hidden="true">'
        f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"/></svg>'
        f'<img class="crop{corner}" loading="lazy" decoding="async" '
        f'alt="Face {card.face_id} in {escaped(picture.path)}" src="{data_url(picture.face)}"></a>\n'
    )


def _foot(gallery: Gallery) -> str:
    rows = "".join(
        f"<dt>{escaped(name)}</dt><dd>{escaped(_plain(value))}</dd>\n" for name, value in gallery.provenance.items()
    )
    return (
        f'<footer>\n<p class="keys">Arrow keys move, Enter opens the photo, c copies its path, x selects it, '
        f"Home and End go to the first and last match.</p>\n<p>{escaped(gallery.confidence)}</p>\n"
        f"<details><summary>How this page was made</summary>\n<dl>\n{rows}</dl>\n</details>\n"
        "<p>Similarity is not proof of identity. False-match rates differ between groups of people; "
        "relatives and children are confused more often.</p>\n"
        "</footer>\n"
    )


def _plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
