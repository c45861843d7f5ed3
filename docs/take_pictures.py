"""Take the README's pictures from the sample album: `python docs/take_pictures.py`.

Writes docs/pictures/page.webp, a page of results in Chromium, and docs/pictures/terminal.svg, a session on a terminal.
The people are those of the sample photos. Needs Chromium.
"""

from __future__ import annotations

import html
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs/pictures"
SIZE = (1000, 640)
"""Width and height of the page in pixels."""
COLUMNS = 96
SESSION = ("facecli index album", "facecli search yaoming.jpg", "facecli search yaoming.jpg -t none -k 3")
COLOURS = {"1": "font-weight:bold", "2": "opacity:.6", "31": "fill:#f38ba8", "32": "fill:#a6e3a1", "33": "fill:#f9e2af"}
"""Styles of the terminal's codes."""


def assemble(folder: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "examples/sample_album.py"), str(folder)], check=True)


def take_page(folder: Path, environment: dict[str, str], target: Path) -> None:
    """Photograph a page of results."""
    page, shot = folder / "found.html", folder / "shot.png"
    search = ["facecli", "search", "yaoming.jpg", "-t", "none", "--html", str(page), "-q"]
    subprocess.run(search, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    page.write_text(page.read_text("utf-8").replace(str(folder.parent), "~"), "utf-8")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((found for name in names if (found := shutil.which(name))), None)
    if program is None:
        sys.exit("take_pictures: Chromium is not installed")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=10000"]
    flags += ["--run-all-compositor-stages-before-draw"]
    flags += [f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={shot}", f"--user-data-dir={folder / 'profile'}"]
    subprocess.run([program, *flags, page.as_uri()], check=True, capture_output=True, timeout=120)
    with Image.open(shot) as picture:
        picture.convert("RGB").save(target, quality=70, method=6)


def run_on_terminal(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What a command shows on a terminal, with its codes for colours."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        command.split(), cwd=folder, env=environment, stdin=slave, stdout=slave, stderr=slave, close_fds=True
    )
    os.close(slave)
    shown = b""
    try:
        while part := os.read(master, 4096):
            shown += part
    except OSError:  # the other end is closed
        pass
    process.wait()
    os.close(master)
    return shown.decode()


def visible(shown: str) -> list[str]:
    """The lines that stay on the screen: without progress bars, links, and what was overwritten."""
    text = re.sub(r"\x1b\]8;;.*?(\x1b\\|\x07)", "", shown.replace("\r\n", "\n"))
    lines = [re.split(r"\r|\x1b\[A", line)[-1] for line in text.split("\n")]
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]", "", line) for line in lines]
    return [part for line in lines if line.strip() for part in wrapped(line)]


def wrapped(line: str) -> list[str]:
    """A line in pieces of the terminal's width."""
    if "\x1b" in line or len(line) <= COLUMNS:
        return [line]
    return [line[at : at + COLUMNS] for at in range(0, len(line), COLUMNS)]


def draw(lines: list[str]) -> str:
    """The lines as a picture."""
    height = 20
    rows = [
        f'<text x="16" y="{44 + number * height}" xml:space="preserve">{styled(line)}</text>'
        for number, line in enumerate(lines)
    ]
    box = f"0 0 {COLUMNS * 8 + 48} {len(lines) * height + 48}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" aria-label="facecli on a terminal" '
        'font-family="ui-monospace,Menlo,Consolas,DejaVu Sans Mono,monospace" font-size="13.3">'
        '<rect width="100%" height="100%" rx="8" fill="#1e1e2e"/>'
        + "".join(f'<circle cx="{20 + 18 * n}" cy="16" r="5" fill="#585b70"/>' for n in range(3))
        + '<g fill="#cdd6f4">\n'
        + "\n".join(rows)
        + "\n</g></svg>\n"
    )


def styled(line: str) -> str:
    """A line with the terminal's codes as styles."""
    made, opened = "", 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if code is None:
            made += html.escape(part)
        elif code[1] in ("", "0"):
            made += "</tspan>" * opened
            opened = 0
        else:
            made += f'<tspan style="{";".join(filter(None, map(COLOURS.get, code[1].split(";"))))}">'
            opened += 1
    return made + "</tspan>" * opened


def take(target: Path) -> None:
    """Take both pictures."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "Pictures"
        folder.mkdir()
        assemble(folder)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("FACECLI_") and k != "NO_COLOR"}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}:{environment['PATH']}",
            "TERM": "xterm-256color",
            "COLUMNS": str(COLUMNS),
            "LC_ALL": "C.UTF-8",
        }
        lines: list[str] = []
        for command in SESSION:
            shown = visible(run_on_terminal(command, folder, environment))
            lines += [f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m", *shown, ""]
        (target / "terminal.svg").write_text(draw([line.replace(place, "~") for line in lines[:-1]]), "utf-8")
        take_page(folder, environment, target / "page.webp")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    take(PICTURES)
