"""People as one self-contained HTML page that takes names and marks; what it saves, `facecli people apply` takes.

Pictures stand in the page as text, and become images where they are near the window: a page of thousands of people
scrolls as one of ten.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from facecli.output.offline_page import escaped, offline_page
from facecli.output.paths import printable_path
from facecli.persons import PersonFace, PersonInfo
from facecli.wording import counted


class ShownFace(Struct, frozen=True):
    """A face on the page."""

    face: PersonFace
    path: str
    """The path as displayed."""
    picture: bytes
    """A JPEG file; empty if the photo cannot be read."""
    trouble: str = ""
    """Why it cannot be read."""


class ShownPerson(Struct, frozen=True):
    """A person on the page."""

    person: PersonInfo
    cover: ShownFace
    doubtful: tuple[ShownFace, ...]
    """The least typical faces."""
    faces: tuple[int, ...]
    """The ids of all faces."""


class PeopleSheet(Struct, frozen=True):
    """A whole page."""

    people: Iterable[ShownPerson]
    count: int
    names: Sequence[str]
    """All names of the index, to choose from."""
    tag: str
    """What tells the index from others."""
    place: str
    """The index, as displayed."""


def people_page(sheet: PeopleSheet) -> Iterator[str]:
    """The page in pieces."""
    return offline_page(f"People in {sheet.place}", ("gallery", "people_page"), _body(sheet))


def _body(sheet: PeopleSheet) -> Iterator[str]:
    options = "".join(f'<option value="{escaped(name)}">' for name in sheet.names)
    yield (
        f'<header>\n<p class="name">facecli</p>\n'
        f'<p class="summary">{counted(sheet.count, "person")} in {escaped(sheet.place)}<br>'
        f'<span id="changed" aria-live="polite">Nothing changed yet</span></p>\n<div class="tools">\n'
        f'<input id="find" type="search" placeholder="Find a name or number" aria-label="Find a name or number">\n'
        f'<button id="save" type="button" disabled>Save names.jsonl</button>\n'
        f'<button id="theme" type="button">Light or dark</button>\n</div>\n</header>\n'
        f'<datalist id="names">{options}</datalist>\n<main class="people" data-index="{escaped(sheet.tag)}">\n'
    )
    for person in sheet.people:
        yield _card(person)
    yield "</main>\n"
    yield (
        '<footer>\n<p class="keys">Type a name and press Enter to go to the next person. The same name twice makes one '
        "person. The small faces are the least typical ones: press those that are somebody else. "
        "Save, then run <code>facecli people apply names.jsonl</code>; <code>facecli people undo</code> takes it "
        "back.</p>\n<p>Similarity is not proof of identity; relatives and children are confused more often.</p>\n"
        "</footer>\n"
    )


def _card(shown: ShownPerson) -> str:
    person = shown.person
    title = escaped(person.title)
    name = escaped(person.name or "")
    facts = f"person {person.person_id} · {counted(person.photos, 'photo')} · alike {person.cohesion:.2f}"
    pictures = json.dumps([_text(one.picture) for one in (shown.cover, *shown.doubtful)])
    return (
        f'<article class="person{" hidden-person" if person.hidden else ""}" data-person="{person.person_id}" '
        f'data-name="{name}" data-hidden="{int(person.hidden)}" data-faces="{",".join(map(str, shown.faces))}" '
        f'aria-label="{title}">\n<div class="who">{_picture(shown.cover, "cover", f"The cover of {title}")}\n'
        f'<div class="what"><input class="called" list="names" maxlength="200" autocomplete="off" spellcheck="false" '
        f'value="{name}" placeholder="Name" aria-label="Name of person {person.person_id}">\n'
        f'<p class="facts">{facts}</p>\n'
        f'<label class="hiding"><input type="checkbox" class="hide"{" checked" * person.hidden}> Hide</label>\n'
        f'<p class="note"></p></div></div>\n'
        f'<div class="doubtful">{"".join(_mark(face, title) for face in shown.doubtful)}</div>\n'
        f'<script type="application/json">{pictures}</script>\n</article>\n'
    )


def _mark(shown: ShownFace, title: str) -> str:
    face = shown.face
    said = f"face:{face.face_id} in {printable_path(shown.path)}, similarity {face.similarity:.2f}"
    picture = _picture(shown, "", escaped(said))
    return (
        f'<button type="button" class="mark" aria-pressed="false" data-face="{face.face_id}" title="{escaped(said)}" '
        f'aria-label="Not {title}: {escaped(said)}">{picture}</button>'
    )


def _picture(shown: ShownFace, kind: str, alt: str) -> str:
    if not shown.picture:
        return f'<span class="picture {kind} trouble" title="{escaped(shown.trouble)}">?</span>'
    return f'<img class="picture {kind}" width="96" height="96" alt="{alt}">'


def _text(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")
