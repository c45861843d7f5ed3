"""Pages of one file that need no network: the frame around their content, and text and pictures in it.

All text from outside is escaped. A page's Content Security Policy allows only its own script and no network requests.
"""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator
from importlib.resources import files


def offline_page(title: str, parts: tuple[str, ...], body: Iterable[str]) -> Iterator[str]:
    """Yield a page in pieces.

    `parts` names the styles (`NAME.css`, in order) and the script (`NAME.js`, of the last) that lie beside this module.
    """
    here = files("facecli.output")
    style = "".join(here.joinpath(f"{part}.css").read_text("utf-8") for part in parts)
    script = here.joinpath(f"{parts[-1]}.js").read_text("utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    )
    yield (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="referrer" content="no-referrer">\n'
        f"<title>{escaped(title)} · facecli</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )
    yield from body
    yield f'<p id="told" role="status"></p>\n<script>{script}</script>\n</body>\n</html>\n'


def escaped(text: str) -> str:
    """Escape text for use anywhere in the page, also within quotes; replaces surrogates."""
    return html.escape(text.encode("utf-8", "replace").decode(), quote=True)


def data_url(data: bytes) -> str:
    """The URL of a JPEG file that stands in the page."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")
