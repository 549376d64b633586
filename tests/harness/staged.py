"""A Terraster that shows something of everything: backends in many states, a certificate that ends, limits, a plugin, edits, a refused reload,
and a day of history. For pictures of the dashboard, and for tests that look at all its pages.

with Staged(folder) as terraster:
    ...
"""

from __future__ import annotations

import math
import re
import textwrap
import time
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

from terraster.admin.event_files import EventFiles
from terraster.policy.minutes import LEAST, Minute, Names, recorded
from terraster.policy.series import Series, packed

from .api import call
from .authority import Authority
from .backends import Backend, Request, always, ok
from .client import get
from .ports import free_port
from .terraster_process import Terraster, service
from .users_api import make

__all__ = ["LONG", "PAGES", "REASON", "Staged"]

LONG = "orders-of-the-warehouse-in-the-north-which-has-a-long-name"
REASON = "🔧 نواة جديدة: new kernel"
_KINDS = (
    "service/shop",
    f"service/{LONG}",
    "service/none-of-this-name",
    "events?service=shop&kind=backend",
    "events?service=none&find=nothing",
    "requests?service=shop&kind=refused",
    "audit?user=nobody-has-this-name",
)
PAGES = (
    *re.findall(r'\{ name: "([a-z]*)", title: .* inMenu', (files("terraster.admin") / "dashboard/app.js").read_text()),
    *_KINDS,
)
"""Each page of the menu, and further kinds of them."""

_PLUGIN = """
    class Stamp:
        name = "stamp"
        version = "1.2"

        def on_response(self, request, response):
            response.headers["X-Served-By"] = "terraster"
"""


class Staged:
    """Starts it within ``with``. more: services beside those that are staged. reason: of the drain"""

    def __init__(self, folder: Path, *more: dict[str, Any], reason: str = REASON) -> None:
        self._folder = folder
        self._more = more
        self._reason = reason
        self._stack = ExitStack()
        self.gone = f"http://127.0.0.1:{free_port()}"

    def __enter__(self) -> Terraster:
        with ExitStack() as stack:
            terraster = self._start(stack)
            self._stack = stack.pop_all()
        return terraster

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def _start(self, stack: ExitStack) -> Terraster:
        folder = self._folder
        (folder / "plugins").mkdir(parents=True)
        (folder / "plugins" / "stamp.py").write_text(textwrap.dedent(_PLUGIN))
        make(folder / "users.db")
        make(folder / "users.db", "bob", "operator")
        chain, key = Authority().issue("blog.example", days=3, begun=87).write(folder)
        good, drained, api = (stack.enter_context(Backend(always(ok()))) for _ in range(3))
        bad = stack.enter_context(Backend(always(_fails)))
        check = {"health_check": {"type": "http", "path": "/", "interval": "1s"}}
        shop: dict[str, Any] = {
            "name": "shop",
            "host": ["shop.example", "www.shop.example"],
            "retry": "off",
            "outlier": "off",
            "slo": {"availability": 99.9, "latency": {95: "300ms"}},
            "locations": [
                {
                    "path": "/",
                    "backends": [
                        {"name": "web-1", "url": good.url, "weight": 2, "max_connections": 50},
                        {"name": "web-2", "url": bad.url},
                        {"name": "web-3", "url": self.gone, **check},
                        {"name": "web-4", "url": drained.url},
                    ],
                },
                {
                    "path": "/api",
                    "middleware": [
                        {"rate_limit": {"requests_per_second": 0.5, "burst": 5}},
                        {"limit_connections": {"per_client": 100}},
                    ],
                    "backends": [{"name": "api-1", "url": api.url}],
                },
            ],
        }
        tls = {"cert_file": str(chain), "key_file": str(key)}
        blog = service(good.url, name="blog", host="blog.example", listen=f"127.0.0.1:{free_port()}", tls=tls)
        _write_past(folder / "state" / "history", self.gone)
        terraster = stack.enter_context(
            Terraster(
                folder,
                shop,
                blog,
                service(good.url, name=LONG, host="warehouse.example"),
                *self._more,
                auth={"db_path": str(folder / "users.db")},
                plugin_directory=str(folder / "plugins"),
                middleware=[{"stamp": {}}],
                workers=2,
            )
        )
        done = terraster.ctl("backend", "drain", "shop", drained.url, "--reason", self._reason, "--for", "2h")
        assert done.returncode == 0, done.stderr
        told = call(
            terraster,
            "PATCH",
            "/api/backends",
            {"weight": 3, "reason": "more memory"},
            {"If-Match": "*"},
            service_name="shop",
            path="/",
            url=good.url,
        )
        assert told.status == 200, told.body
        for number in range(60):  # of which the limit refuses most, however long they take
            get(terraster.address, "/api/orders" if number % 3 else "/", host="shop.example")
        kept = terraster.config_file.read_text()
        terraster.config_file.write_text(f"{kept}\nworker: 4\n")
        terraster.ctl("reload")
        terraster.config_file.write_text(kept)
        return terraster


def _fails(request: Request) -> bytes:
    return ok() if request.target == "/health" else ok(status=b"500 Internal Server Error")


def _write_past(directory: Path, gone: str) -> None:
    """A day of traffic as people make it, and of a backend that went and came."""
    now = int(time.time() // 60 * 60)
    directory.mkdir(parents=True)
    files: dict[str, bytes] = {}
    names = Names()
    for when in range(now - 86_340, now, 60):
        hour = (when % 86_400) / 3600
        load = int(900 + 700 * math.sin((hour - 9) / 24 * 2 * math.pi) + 60 * math.sin(when / 400))
        troubled = now - 30_000 < when < now - 26_000
        errors = load // 12 if troubled else load // 900
        middle = 0.012 + 0.004 * math.sin(when / 900) + (0.05 if troubled else 0)
        times = [round(seconds / LEAST) for seconds in (middle, middle * 3.5, middle * 9)]
        minute = Minute(when, 60.0)
        minute.locations = {"shop/": (load, load // 40, errors, *times), "shop/api": (load // 3, load // 60, 0, *times)}
        minute.backends = {f"shop/ {gone}": (load // 4, errors, 0)}
        file = f"{time.strftime('%Y-%m-%dT%H', time.gmtime(when))}-1.minutes"
        if file not in files:
            files[file], names = b"", Names()
        files[file] += recorded(minute, names)
    for file, octets in files.items():
        (directory / file).write_bytes(octets)
    (directory / "objectives").write_bytes(_objectives(now))
    events = [
        (30_000, "backend", f"shop/ {gone}", "ejected: 5 failed requests in a row, the last: timeout after 30 s"),
        (28_900, "backend", f"shop/ {gone}", "up"),
        (27_500, "backend", f"shop/ {gone}", "down: health check: connection refused"),
        (26_000, "backend", f"shop/ {gone}", "up"),
        (21_000, "reload", "", "reload succeeded: services.shop.locations[/].backends[web-4] added"),
        (9_000, "worker", "", "worker 4242 (proxy) has ended: killed by SIGKILL; it is replaced"),
    ]
    EventFiles(str(directory)).add(
        [
            {"epoch": "before", "seq": seq, "when": now - ago, "kind": kind, "target": target, "text": text, "generation": None}
            for seq, (ago, kind, target, text) in enumerate(events, 1)
        ]
    )


def _objectives(now: int) -> bytes:
    """Twenty days of counts, of which the last hour had too many server errors; and so will the next half hour, however long a test takes."""
    found = {"server errors": Series(), "slower than 0.3": Series()}
    for when in range(now - 20 * 86_400, now, 600):
        found["server errors"].add(when, 9000, 180 if when >= now - 3600 else 2)
        found["slower than 0.3"].add(when, 9000, 200)
    for when in range(now - 3600, now + 1800, 60):
        found["server errors"].add(when, 100, 2)
    return packed([(("shop/", counts), *one.octets()) for counts, one in found.items()])
