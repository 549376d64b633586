"""A real Chromium without a window, driven by the DevTools protocol over two pipes (its messages end with a zero octet).

with Chromium(folder) as browser:
    page = browser.page(1280, 800)
    page.open("http://127.0.0.1:8081/")
    page.wait("document.querySelector('h1')?.textContent == 'No problems'")
"""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

from .program import find

__all__ = ["Chromium", "Page"]

DEADLINE = 60.0  # seconds: a page that is drawn on two busy cores takes several times as long as a request

_QUIET = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
)


class Chromium:
    """The browser. folder: for its profile and what it writes"""

    def __init__(self, folder: Path) -> None:
        chromium = find("chromium")
        assert chromium is not None
        theirs, self._out = os.pipe()
        self._in, answers = os.pipe()
        folder.mkdir(parents=True, exist_ok=True)
        # The shell puts the pipes where Chromium looks for them: 3 for what it reads, 4 for what it writes.
        command = f'exec 3<&{theirs} 4>&{answers}; exec "$@"'
        with open(folder / "chromium.log", "wb") as log:
            self._process = subprocess.Popen(
                [
                    "bash",
                    "-c",
                    command,
                    "chromium",
                    chromium,
                    *_QUIET,
                    "--remote-debugging-pipe",
                    f"--user-data-dir={folder}",
                    "about:blank",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(theirs, answers),
            )
        os.close(theirs)
        os.close(answers)
        self._number = 0
        self._read = b""
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)
        self._process.kill()
        self._process.wait()
        os.close(self._in)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """The result of a command. What happens meanwhile is kept in `events`."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                result: dict[str, Any] = told["result"]
                return result
            self.events.append(told)

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + DEADLINE
        while b"\0" not in self._read:
            poll = select.poll()
            poll.register(self._in, select.POLLIN)
            assert poll.poll(max(0.0, end - time.monotonic()) * 1000), "the browser does not answer"
            octets = os.read(self._in, 1 << 20)
            assert octets, "the browser has ended"
            self._read += octets
        told, _, self._read = self._read.partition(b"\0")
        value: dict[str, Any] = json.loads(told)
        return value

    def page(self, width: int, height: int, **media: str) -> Page:
        """A new page of this size, with cookies of its own. media: features, such as ``prefers_color_scheme="dark"``"""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        page = Page(self, context, self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        for domain in ("Page", "Runtime", "Log"):
            page.call(f"{domain}.enable")
        page.resize(width, height)
        page.media(**media)
        return page


class Page:
    """A page of the browser."""

    def __init__(self, browser: Chromium, context: str, session: str) -> None:
        self._browser = browser
        self._context = context
        self._session = session

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command for this page."""
        return self._browser.call(method, self._session, **parameters)

    def close(self) -> None:
        """End the page, its connections and its cookies."""
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)

    def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def media(self, **media: str) -> None:
        """What the viewer's system says: features, such as ``prefers_color_scheme="dark"``."""
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Go to an address."""
        failure = self.call("Page.navigate", url=url).get("errorText")
        assert not failure, f"{url}: {failure}"

    def value(self, expression: str) -> Any:
        """The value of an expression of JavaScript, or of its promise."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, f"{expression}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def wait(self, expression: str, deadline: float = DEADLINE) -> Any:
        """The value of an expression as soon as it is true. An error of it means "not yet": what it looks at is not there."""
        end = time.monotonic() + deadline
        while True:
            found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
            failed = found.get("exceptionDetails")
            if not failed and (value := found["result"].get("value")):
                return value
            assert time.monotonic() < end, f"{expression} did not become true; {failed or ''} the page says: {self.text()}"
            time.sleep(0.02)

    def text(self) -> str:
        """What a reader sees of the page."""
        return str(self.value("document.body.innerText"))

    def type(self, selector: str, text: str) -> None:
        """Put the focus on an element and type."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click on an element."""
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def log_in(self, name: str, password: str) -> None:
        """Log in to the dashboard."""
        self.type("input[name=username]", name)
        self.type("input[name=password]", password)
        self.click("button[name=send]")
        self.wait("document.querySelector('.headline')")

    def go(self, name: str) -> None:
        """Show a page of the dashboard, and wait until it is whole. name: what stands behind ``#/``"""
        self.value(f"location.hash = {json.dumps(f'#/{name}')}")
        self.wait(f"document.querySelector('main').dataset.page == {json.dumps(f'#/{name}')}")
        self.wait("document.querySelector('main').getAttribute('aria-busy') == 'false'")

    def complaints(self) -> list[str]:
        """What went wrong in the page so far: exceptions, errors of the console, and what the content security policy refused."""
        self.value("1")
        found = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            told = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(told["exceptionDetails"].get("exception", {}).get("description") or told["exceptionDetails"]["text"])
            elif event["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
                found.append(told["entry"]["text"])
        return found

    def picture(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
