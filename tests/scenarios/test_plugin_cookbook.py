"""The cookbook of docs/plugins.md: each recipe runs exactly as it is written there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..harness.backends import Request, ok
from ..harness.client import exchange, get
from ..harness.terraster_process import service

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
COOKBOOK = PAGE.split("\n## Cookbook\n")[1]


def recipes() -> dict[str, tuple[str, dict[str, Any]]]:
    """The recipes by their titles: the code, and the configuration that stands below it."""
    found = {}
    for part in COOKBOOK.split("\n### ")[1:]:
        code = re.search(r"^```python\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        written = re.search(r"^```yaml\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)
        assert code is not None, part
        found[part.splitlines()[0]] = code[1], yaml.safe_load(written[1]) if written is not None else {}
    return found


RECIPES = recipes()


@pytest.fixture
def cook(terraster, backend, tmp_path: Path):
    """Run a recipe: ``cook(title, answer)`` gives the Terraster. The backend tells the fields that it got, and the body."""

    def start(title: str, answer: Any = None, **changed: Any) -> Any:
        code, written = RECIPES[title]
        folder = tmp_path / "plugins"
        folder.mkdir()
        (folder / "recipe.py").write_text(code)
        for entry in written.get("middleware", ()):
            for keys in entry.values():
                keys.update(changed)
        return terraster(service(backend(answer=answer or told).url), plugin_directory=str(folder), **written)

    return start


def told(request: Request) -> bytes:
    fields = {name.decode(): value.decode() for name, value in request.fields}
    return ok(json.dumps({"fields": fields, "body": request.body.decode()}).encode(), b"Content-Type: application/json\r\n")


def test_there_are_six() -> None:
    assert len(RECIPES) == 6


def test_add_a_header(cook) -> None:
    assert get(cook("Add a header").address).get("x-site") == "berlin"


def test_block_by_the_body(cook) -> None:
    served = cook("Block by the body")

    def post(body: bytes) -> Any:
        return exchange(served.address, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    assert json.loads(post(b"hello").body)["body"] == "hello"
    refused = post(b"<Script>")
    assert (refused.status, json.loads(refused.body)) == (403, {"error": "no scripts, please"})


def test_a_b_by_a_cookie(cook) -> None:
    served = cook("A/B by a cookie")
    first = get(served.address)
    cookie = first.get("set-cookie") or ""
    variant = cookie.partition("=")[2][:1]
    assert variant in "ab" and json.loads(first.body)["fields"]["x-variant"] == variant and "Max-Age=2592000" in cookie
    for known in "ab":
        again = get(served.address, fields=f"Cookie: variant={known}\r\n")
        assert again.get("set-cookie") is None and json.loads(again.body)["fields"]["x-variant"] == known


def test_call_an_api_with_a_cache(cook, backend) -> None:
    asked = []

    def answer(request: Request) -> bytes:
        asked.append(request.target)
        return ok(b'{"customer": "jo"}') if "good" in request.target else ok(b"", status=b"404 Not Found")

    api = backend(answer=answer)
    served = cook("Call an API, with a cache", url=f"{api.url}/keys")
    assert get(served.address).status == 401
    for _ in range(3):
        assert json.loads(get(served.address, fields="X-Api-Key: good\r\n").body)["fields"]["x-customer"] == "jo"
        assert get(served.address, fields="X-Api-Key: bad\r\n").status == 401
    assert sorted(asked) == ["/keys?key=bad", "/keys?key=good"]


def test_sign_requests(cook) -> None:
    import hashlib
    import hmac

    served = cook("Sign requests")
    got = json.loads(exchange(served.address, b"POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi").body)
    key = RECIPES["Sign requests"][1]["middleware"][0]["sign_requests"]["key"].partition(":-")[2].rstrip("}")
    words = "\n".join(("POST", "/a", "b=c", got["fields"]["x-signed-at"], hashlib.sha256(b"hi").hexdigest()))
    assert got["fields"]["x-signature"] == hmac.new(key.encode(), words.encode(), "sha256").hexdigest()
    assert got["body"] == "hi"


def test_shape_json(cook) -> None:
    document = {"name": "jo", "password": "x", "orders": [{"id": 1, "internal_id": 2}]}

    def answer(request: Request) -> bytes:
        if request.target == "/text":
            return ok(b"password")
        return ok(json.dumps(document).encode(), b"Content-Type: application/json\r\n")

    served = cook("Shape JSON", answer)
    assert json.loads(get(served.address).body) == {"name": "jo", "orders": [{"id": 1}]}
    assert get(served.address, "/text").body == b"password"
