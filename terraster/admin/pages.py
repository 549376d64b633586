"""The dashboard's files, as they come with the package: hand-written HTML, CSS and JavaScript without a build, in ``dashboard/``.

They hold nothing secret and are open without login. The data comes from the API, which asks who calls. The content security policy lets
the page load and run only what comes from here, so nothing that a name or a reason contains can become a script.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from .site import Handler, Response

__all__ = ["ASSETS", "POLICY", "routes"]

ASSETS = "/dashboard/"

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)

_HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("X-Frame-Options", "DENY"),
)

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


def routes() -> dict[str, dict[str, Handler]]:
    """A route for each file: ``/`` is the page."""
    found = dict(_below(files("terraster.admin") / "dashboard", ASSETS))
    return {"/": found.pop(f"{ASSETS}index.html"), **found}


def reference() -> dict[str, dict[str, Handler]]:
    """The same for the page that shows the API's document: ``/docs``."""
    found = dict(_below(files("terraster.admin") / "reference", "/docs/"))
    return {"/docs": found.pop("/docs/index.html"), **found}


def _below(folder: Traversable, path: str) -> list[tuple[str, dict[str, Handler]]]:
    found: list[tuple[str, dict[str, Handler]]] = []
    for one in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if one.is_dir():
            found += _below(one, f"{path}{one.name}/")
        elif one.name.rpartition(".")[2] in _TYPES:
            found.append((f"{path}{one.name}", {"GET": _handler(one.read_bytes(), _TYPES[one.name.rpartition(".")[2]])}))
    return found


def _handler(octets: bytes, kind: str) -> Handler:
    return lambda query: Response(octets, kind, 200, _HEADERS)
