"""The page of a search, as text and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import Browser, find_chromium
from msgspec.structs import replace
from page_tags import Tags

from facecli.output.gallery import Card, Gallery, GalleryPicture, Section, gallery_page
from facecli.types import Confidence

WICKED = '<img src=x onerror="window.hacked=1">&amp;"\'</script><script>window.hacked=1</script>.jpg'
CONFIDENCE = list(map(str, Confidence))


COLUMNS = "getComputedStyle(document.querySelector('.cards')).gridTemplateColumns.split(' ').length"


def jpeg(width: int, height: int, shade: int) -> bytes:
    pixels = np.full((height, width, 3), shade, np.uint8)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = (0, 0, 255)
    done, data = cv2.imencode(".jpg", pixels)
    assert done
    return data.tobytes()


def picture(path: str, *, upright: bool = False) -> GalleryPicture:
    width, height = (600, 800) if upright else (800, 600)
    box = (width / 4, height / 4, width / 2, height / 2)
    return GalleryPicture(
        path,
        f"/photos/{path}",
        "file:///photos/x.jpg",
        box,
        width,
        height,
        jpeg(width // 2, height // 2, 90),
        jpeg(120, 120, 160),
    )


def card(number: int, path: str, similarity: float) -> Card:
    return Card(
        picture(path, upright=number % 3 == 0),
        number,
        similarity,
        100 + number,
        CONFIDENCE[number % 3],
        f"20{10 + number * 7 % 12:02}-05-06T07:08:09+02:00",
    )


def gallery(cards: int, *, sections: int = 1) -> Gallery:
    made = []
    for section in range(sections):
        paths = [WICKED, *(f"album/a long folder name/photo {n} of section {section}.jpg" for n in range(2, cards + 1))]
        found = tuple(card(n, path, 0.7 - 0.75 * (n - 1) / max(cards, 2)) for n, path in enumerate(paths[:cards], 1))
        made.append(Section(f"query {section} {WICKED}", (picture("query.jpg"),), found))
    return page_of(made, "12 matches among 34 faces in 4 photos")


def page_of(sections: list[Section], summary: str = "") -> Gallery:
    title = f"{WICKED} in /photos/.facecli, 2026-01-02 03:04"
    made = {"facecli": "1", "queries": [{"query": WICKED}]}
    return Gallery(title, sections, summary, "threshold 0.28 (auto)", "Likely: it is.", made)  # type: ignore[arg-type]


def put(folder: Path, page: Gallery) -> Path:
    (folder / "page.html").write_text("".join(gallery_page(page)), "utf-8")
    return folder / "page.html"


def test_names_stay_text_and_nothing_lies_outside() -> None:
    text = "".join(gallery_page(gallery(3)))
    tags = Tags(text).tags
    assert not [attrs for _, attrs in tags if any(name.startswith("on") for name in attrs)]
    assert [tag for tag, _ in tags].count("script") == 1
    assert not re.search(r"https?://", re.sub(r"data:[^\"]+", "", text))
    assert all((attrs["src"] or "").startswith("data:image/jpeg") for tag, attrs in tags if tag == "img")
    assert all(attrs.get("alt") for tag, attrs in tags if tag == "img")


def test_a_name_that_is_not_utf8_and_a_photo_that_is_gone() -> None:
    odd = GalleryPicture(
        "latin-\udce9.jpg", "/latin-\udce9.jpg", "file:///latin-%E9.jpg", (0, 0, 1, 1), trouble="no such photo"
    )
    text = "".join(gallery_page(page_of([Section("q", (odd,), (Card(odd, 1, 0.5, 7, ""),))])))
    assert text.encode().count(b"no such photo") == 2
    assert "file:///latin-%E9.jpg" in text


def test_without_a_match_the_page_says_so() -> None:
    text = "".join(gallery_page(page_of([Section("q", (), ())], "Not found among 34 faces in 4 photos")))
    assert "Not found among 34 faces in 4 photos" in text
    assert "<article" not in text
    assert 'id="least"' not in text


def test_queries_that_failed_are_named_as_text() -> None:
    page = replace(gallery(1), failures=(f"no such photo: {WICKED}",))
    text = "".join(gallery_page(page))
    assert text.count("Not searched for: no such photo: &lt;img src=x") == 1
    assert WICKED not in text


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium is installed, so that the page cannot be looked at")
    with Browser(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Browser:
    chromium.size(1280, 900)
    chromium.prefer("light")
    return chromium


CURRENT = "[...document.querySelectorAll('article')].indexOf(document.activeElement)"


def test_the_page_loads_alone_and_runs_no_foreign_script(browser: Browser, tmp_path: Path) -> None:
    page = put(tmp_path, gallery(4, sections=2))
    browser.open(page)
    assert browser.run("window.hacked") is None
    assert [r for r in browser.requests() if not r.startswith("data:")] == [page.as_uri()]
    assert browser.complaints() == []
    assert (
        browser.run(
            "Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode()))).then(() => document.images.length)"  # noqa: E501
        )
        == 2 * 9
    )
    # Even a script that got into the page would not run.
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hacked = 1'}))"
    )
    assert browser.run("window.hacked") is None


def test_the_slider_hides_what_is_less_similar(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, gallery(10)))
    assert browser.run("document.getElementById('count').textContent") == "10 of 10"
    move = "(v => { const s = document.getElementById('least'); s.value = v; s.dispatchEvent(new Event('input')); })"
    browser.run(f"{move}(0.5)")
    similarities = [0.7 - 0.075 * n for n in range(10)]
    kept = sum(s >= 0.5 for s in similarities)
    assert browser.run("document.getElementById('count').textContent") == f"{kept} of 10"
    assert browser.run("[...document.querySelectorAll('article')].filter(a => a.offsetHeight).length") == kept
    browser.run(f"{move}(-1)")
    assert browser.run("[...document.querySelectorAll('article')].filter(a => a.offsetHeight).length") == 10


def test_keys_move_among_the_cards_that_are_shown(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, gallery(12)))
    columns = browser.run(COLUMNS)
    assert columns > 2
    seen = []
    for key in (
        "ArrowRight",
        "ArrowRight",
        "ArrowDown",
        "ArrowLeft",
        "ArrowUp",
        "End",
        "ArrowRight",
        "Home",
        "ArrowUp",
    ):
        browser.press(key)
        seen.append(browser.run(CURRENT))
    assert seen == [0, 1, 1 + columns, columns, 0, 11, 11, 0, 0]
    browser.run("document.querySelectorAll('article')[1].hidden = true")
    browser.press("ArrowRight")
    assert browser.run(CURRENT) == 2


def test_enter_opens_the_photo_and_c_copies_its_path(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, gallery(3)))
    browser.run(
        "document.querySelector('article a[href]').addEventListener('click', e => { e.preventDefault(); window.opened = e.target.href; })"  # noqa: E501
    )
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    browser.press("ArrowLeft")
    browser.run(
        "document.querySelectorAll('article')[0].querySelector('.doing a').addEventListener('click', e => e.preventDefault())"  # noqa: E501
    )
    browser.press("Enter")
    assert browser.run("window.opened") == "file:///photos/x.jpg"
    browser.run("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    browser.press("c")
    assert browser.run("window.copied") == f"/photos/{WICKED}"
    assert browser.run("document.getElementById('told').textContent") == f"Copied /photos/{WICKED}"
    browser.run("document.querySelectorAll('button.copy')[2].click()")
    assert browser.run("window.copied").endswith("photo 3 of section 0.jpg")


def test_cards_are_sorted_and_the_keys_follow(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, gallery(8, sections=2)))
    choose = "(o => { const s = document.getElementById('sort'); s.value = o; s.dispatchEvent(new Event('change')); })"

    def order(what: str) -> list[str]:
        return list(browser.run(f"[...document.querySelectorAll('article')].map(a => a.dataset.{what})"))

    similar = order("path")
    for name, key, falls in (("time", "time", True), ("folder", "path", False), ("similarity", "similarity", True)):
        browser.run(f"{choose}('{name}')")
        seen = order(key)
        for section in (seen[:8], seen[8:]):
            if key == "similarity":
                assert [float(text) for text in section] == sorted(map(float, section), reverse=True)
            else:
                assert section == sorted(section, reverse=falls)
        browser.press("Home")
        browser.press("ArrowRight")
        assert browser.run(CURRENT) == 1
    assert order("path") == similar
    browser.run(f"{choose}('time')")
    assert order("path") != similar


def test_all_paths_or_the_selected_ones_are_copied(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, gallery(4)))
    browser.run("navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }")
    paths = browser.run("[...document.querySelectorAll('article')].map(a => a.dataset.path)")
    browser.run("document.getElementById('copy').click()")
    assert browser.run("window.copied") == "\n".join(paths)
    browser.run("document.querySelectorAll('.chosen')[2].click()")
    browser.press("Home")
    browser.press("x")
    assert browser.run("document.getElementById('copy').textContent") == "Copy 2 paths"
    browser.run("document.getElementById('copy').click()")
    assert browser.run("window.copied") == f"{paths[0]}\n{paths[2]}"
    assert browser.run("document.getElementById('told').textContent") == "Copied 2 paths"


def test_the_title_names_query_index_and_time_and_paths_break_at_slashes() -> None:
    text = "".join(gallery_page(gallery(2)))
    assert "in /photos/.facecli, 2026-01-02 03:04 · facecli</title>" in text
    assert '<p class="path">album/<wbr>a long folder name/<wbr>photo 2 of section 0.jpg</p>' in text
    assert "<p>Likely: it is.</p>" in text


def test_the_box_lies_on_the_face(browser: Browser, tmp_path: Path) -> None:
    """The box surrounds the red quarter of each test photo in the browser."""
    browser.open(put(tmp_path, gallery(3)))
    for number in range(3):
        box = browser.run(
            f"(() => {{ const a = document.querySelectorAll('article')[{number}], r = a.querySelector('rect').getBoundingClientRect(),"  # noqa: E501
            " i = a.querySelector('.photo img').getBoundingClientRect(), w = a.querySelector('img').getAttribute('width'),"  # noqa: E501
            " h = a.querySelector('img').getAttribute('height'), s = Math.min(i.width / w, i.height / h);"
            " return [(r.left - i.left - (i.width - s * w) / 2) / (s * w), (r.top - i.top - (i.height - s * h) / 2) / (s * h),"  # noqa: E501
            " r.width / (s * w), r.height / (s * h)]; })()"
        )
        assert np.allclose(box, 0.25, atol=0.02)


def background(place: Path) -> float:
    pixels = cv2.imread(str(place))
    assert pixels is not None
    return float(pixels[-3:, :3].mean())


def test_light_dark_and_a_phone(browser: Browser, tmp_path: Path) -> None:
    page = put(tmp_path, gallery(6, sections=2))
    browser.open(page)
    light = background(browser.picture(tmp_path / "light.png"))
    browser.prefer("dark")
    dark = background(browser.picture(tmp_path / "dark.png"))
    browser.run("document.getElementById('theme').click()")
    chosen = background(browser.picture(tmp_path / "chosen.png"))
    assert (light > 200, dark < 60, chosen > 200) == (True, True, True)
    browser.size(390, 844, phone=True)
    browser.open(page)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.run(COLUMNS) == 2
    browser.picture(tmp_path / "phone.png")


@pytest.mark.parametrize("width", [320, 600, 1280, 1900])
def test_nothing_sticks_out_of_its_card(browser: Browser, tmp_path: Path, width: int) -> None:
    browser.size(width, 900)
    browser.open(put(tmp_path, gallery(12)))
    sticking = (
        "[...document.querySelectorAll('article *')]"
        ".filter(e => e.getBoundingClientRect().right > e.closest('article').getBoundingClientRect().right).map(e => e.outerHTML.slice(0, 80))"  # noqa: E501
    )
    assert browser.run(sticking) == []
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_hundreds_of_matches_are_all_there(browser: Browser, tmp_path: Path) -> None:
    browser.open(put(tmp_path, gallery(400)))
    assert browser.run("document.getElementById('count').textContent") == "400 of 400"
    browser.press("End")
    assert browser.run(CURRENT) == 399
