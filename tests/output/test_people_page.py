"""The page of people, as text and in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from chromium import Browser, find_chromium
from page_tags import Tags

from facecli.output.people_page import PeopleSheet, ShownFace, ShownPerson, people_page
from facecli.persons import PersonFace, PersonInfo
from facecli.types import PhotoFile

WICKED = '"><script>window.hacked=1</script><img src=x onerror="window.hacked=1">'


def jpeg(shade: int) -> bytes:
    done, data = cv2.imencode(".jpg", np.full((112, 112, 3), shade % 256, np.uint8))
    assert done
    return data.tobytes()


def face(face_id: int, *, trouble: str = "") -> ShownFace:
    place = (0.0, 0.0, 9.0, 9.0), 0.9, PhotoFile(f"/photos/{face_id}.jpg", 1, 2), (b"", b"")
    one = PersonFace(face_id, 1, 0.5, False, *place)  # noqa: FBT003 (a field)
    return ShownFace(one, f"{WICKED}/{face_id}.jpg", b"" if trouble else jpeg(face_id), trouble)


def person(number: int, name: str | None = None, *, hidden: bool = False, doubtful: int = 3) -> ShownPerson:
    first = number * 10
    about = PersonInfo(number, name, hidden, 9, 9, first, 0.61)
    shown = tuple(face(first + n) for n in range(1, doubtful + 1))
    return ShownPerson(about, face(first), shown, tuple(range(first, first + 9)))


def put(folder: Path, *people: ShownPerson) -> Path:
    names = [one.person.name for one in people if one.person.name]
    sheet = PeopleSheet(people, len(people), names, "a1b2c3", f"/home/{WICKED}/.facecli")
    (folder / "people.html").write_text("".join(people_page(sheet)), "utf-8")
    return folder / "people.html"


def test_names_stay_text_and_nothing_lies_outside(tmp_path: Path) -> None:
    text = put(tmp_path, person(1, WICKED), person(2)).read_text("utf-8")
    tags = Tags(text).tags
    assert [attrs for _, attrs in tags if any(name.startswith("on") for name in attrs)] == []
    assert [attrs.get("type") for tag, attrs in tags if tag == "script"] == ["application/json"] * 2 + [None]
    assert not re.search(r"https?://", text)
    assert [attrs for tag, attrs in tags if tag == "img" and not attrs.get("alt")] == []


def test_a_photo_that_is_gone_leaves_a_mark_that_says_why(tmp_path: Path) -> None:
    lost = face(10, trouble="no such photo")
    text = put(tmp_path, ShownPerson(person(1).person, lost, (lost,), (10,))).read_text("utf-8")
    assert text.count('title="no such photo">?</span>') == 2


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed, so that the page cannot be looked at")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    chromium.size(1280, 900)
    chromium.prefer("light")
    yield chromium
    # Left with unsaved changes, the page asks, and nobody would answer.
    chromium.call("Page.setDownloadBehavior", behavior="deny")
    chromium.run("document.getElementById('save').click()")


def asks_before_leaving(browser: Browser) -> bool:
    """Whether the page would ask before it is left."""
    return bool(
        browser.run("(e => (dispatchEvent(e), e.defaultPrevented))(new Event('beforeunload', { cancelable: true }))")
    )


def type_name(browser: Browser, number: int, name: str) -> None:
    """Type a name into the field of the n-th person, as a user does."""
    browser.run(f"document.querySelectorAll('.called')[{number}].select()")
    browser.call("Input.insertText", text=name)


def saved(browser: Browser, folder: Path) -> list[dict[str, Any]]:
    """The lines that the page downloads."""
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    place = folder / "names.jsonl"
    browser.run("document.getElementById('save').click()")
    browser.run("new Promise(done => setTimeout(done, 300))")
    for _ in range(50):
        if place.exists():
            break
        browser.run("new Promise(done => setTimeout(done, 100))")
    lines = [json.loads(line) for line in place.read_text("utf-8").splitlines()]
    place.unlink()
    return lines


def test_what_is_saved_is_what_was_changed(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, person(1), person(2, "Ben"), person(3), person(4, "Dora", hidden=True)))
    type_name(browser, 0, "  Änne   O'Neil ")
    browser.run("document.querySelectorAll('[data-person=\"2\"] .mark')[1].click()")
    browser.run("document.querySelector('[data-person=\"4\"] .hide').click()")
    assert browser.run("document.getElementById('changed').textContent") == "3 changed"
    assert asks_before_leaving(browser)
    base = {"hidden": None, "name": None, "not": [], "index": "a1b2c3"}
    assert saved(browser, tmp_path) == [
        {**base, "person": 1, "name": "Änne O'Neil", "faces": list(range(10, 19))},
        {**base, "person": 2, "not": [22], "faces": list(range(20, 29))},
        {**base, "person": 4, "hidden": False, "faces": list(range(40, 49))},
    ]
    assert browser.run("document.getElementById('changed').textContent") == "3 changed, saved"
    assert not asks_before_leaving(browser)
    assert browser.run("window.hacked") is None
    assert browser.complaints() == []


def test_what_is_changed_back_is_not_saved(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, person(1, "Ann"), person(2)))
    type_name(browser, 0, "Anna")
    browser.run("document.querySelector('.mark').click()")
    type_name(browser, 0, "Ann")
    browser.run("document.querySelector('.mark').click()")
    assert browser.run("document.getElementById('save').disabled") is True
    type_name(browser, 0, "")
    assert saved(browser, tmp_path)[0]["name"] == ""


def test_one_name_twice_is_said_to_become_one_person(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, person(1, "Ann"), person(2), person(3)))
    notes = "[...document.querySelectorAll('.note')].map(note => note.textContent)"
    assert browser.run(notes) == ["", "", ""]
    type_name(browser, 2, "aNN ")
    assert browser.run(notes) == ["Becomes one with person 3", "", "Becomes one with person 1"]
    type_name(browser, 2, "Anna")
    assert browser.run(notes) == ["", "", ""]


FOCUSED = "document.activeElement.closest('article')?.dataset.person"


def test_the_keyboard_suffices(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, person(1), person(2), person(3)))
    browser.press("/")
    assert browser.run("document.activeElement.id") == "find"
    browser.run("document.querySelector('.called').focus()")
    browser.call("Input.insertText", text="Ann")
    browser.press("Enter")
    assert browser.run(FOCUSED) == "2"
    browser.press("Enter")
    assert browser.run(FOCUSED) == "3"
    assert browser.run("document.querySelector('.mark').tagName") == "BUTTON"
    assert browser.run("document.querySelector('.called').value") == "Ann"


def test_the_field_finds_names_and_numbers(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, person(1, "Ann"), person(2, "Joanna"), person(3)))
    shown = "[...document.querySelectorAll('article')].filter(card => !card.hidden).map(card => card.dataset.person)"
    for text, wanted in (("ANN", ["1", "2"]), ("3", ["3"]), ("nobody", []), ("", ["1", "2", "3"])):
        browser.run("document.getElementById('find').select()")
        if text:
            browser.call("Input.insertText", text=text)
        else:
            browser.run("document.execCommand('delete')")
        assert browser.run(shown) == wanted


def test_light_and_dark_differ_and_nothing_is_loaded(browser: Browser, tmp_path: Path) -> None:
    page = put(tmp_path, person(1), person(2))
    browser.open(page)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(colour)
    browser.run("document.getElementById('theme').click()")
    assert browser.run(colour) != light
    assert [request for request in browser.requests() if not request.startswith("data:")] == [page.as_uri()]


def test_a_phone_shows_whole_cards(browser: Browser, tmp_path: Path) -> None:
    browser.size(390, 844, phone=True)
    browser.open(put(tmp_path, *(person(n, "A long name with titles", doubtful=6) for n in range(1, 5))))
    assert browser.run("document.documentElement.scrollWidth") == 390
    assert browser.run("[...document.querySelectorAll('article')].every(c => c.getBoundingClientRect().right <= 390)")
    assert browser.run("Math.min(...[...document.querySelectorAll('.mark')].map(m => m.offsetWidth))") >= 40


def test_of_thousands_of_people_only_those_near_the_window_have_pictures(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, *(person(n) for n in range(1, 5001))))
    pictures = "new Promise(d => requestAnimationFrame(() => setTimeout(() => d(document.querySelectorAll('img[src]').length), 100)))"  # noqa: E501
    first = browser.run(pictures)
    assert 0 < first < 400
    browser.run("scrollTo(0, document.body.scrollHeight)")
    assert 0 < browser.run(pictures) < 400
    last = "document.querySelector('[data-person=\"5000\"] img')"
    assert browser.run(f"{last}.decode().then(() => {last}.naturalWidth)") == 112
    assert browser.run("document.querySelector('[data-person=\"1\"] img').hasAttribute('src')") is False
    type_name(browser, 4999, "Last")
    assert browser.run("document.getElementById('changed').textContent") == "1 changed"
