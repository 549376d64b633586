"""Takes the pictures of the dashboard in docs/images: `make screenshots` runs it, for half a minute.

A staged Terraster has some traffic meanwhile. Addresses, times and figures are others in each run, so the pictures are taken again only where
the dashboard looks different.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

from .chromium import Chromium, Page
from .client import get
from .palette import with_palette
from .staged import Staged
from .users_api import GOOD

__all__ = ["IMAGES", "PICTURES", "SCHEMES", "take"]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PICTURES = {"overview": "", "service": "service/shop", "events": "events?service=shop"}
"""The name of each picture, and the page that it shows."""

SCHEMES = ("light", "dark")
_SIZE = (1280, 800)
_PAUSE = 0.02  # seconds between two requests


def take(folder: Path, seconds: float = 20.0) -> list[Path]:
    """Take all pictures. seconds: of traffic before"""
    folder.mkdir(parents=True, exist_ok=True)
    taken = []
    with TemporaryDirectory(prefix="terraster-") as scratch:
        over = Event()
        with Staged(Path(scratch) / "etc", reason="new kernel") as terraster, Chromium(Path(scratch) / "chromium") as browser:
            page = browser.page(*_SIZE)
            page.open(f"http://127.0.0.1:{terraster.admin_port}/")
            page.wait("document.querySelector('input[name=username]')")
            page.log_in("ada", GOOD)
            traffic = Thread(target=_ask, args=(terraster.address, over))
            traffic.start()
            try:
                time.sleep(seconds)
                for name, shown in PICTURES.items():
                    for scheme in SCHEMES:
                        taken.append(folder / f"{name}-{scheme}.png")
                        taken[-1].write_bytes(_picture(page, shown, scheme))
            finally:
                over.set()
                traffic.join()
    return taken


def _picture(page: Page, shown: str, scheme: str) -> bytes:
    page.media(prefers_color_scheme=scheme)
    page.go(shown)
    return with_palette(page.picture())


def _ask(address: tuple[str, int], over: Event) -> None:
    number = 0
    while not over.wait(_PAUSE):
        number += 1
        host = ("shop.example", "shop.example", "warehouse.example")[number % 3]
        get(address, "/api/orders" if number % 40 == 0 else "/", host=host)


if __name__ == "__main__":
    for file in take(IMAGES):
        sys.stdout.write(f"{file.relative_to(IMAGES.parents[1])}: {file.stat().st_size // 1024} KB\n")
