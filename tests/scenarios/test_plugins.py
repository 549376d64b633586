"""Plugins of an operator: hooks, faults, quarantine, reloads; over HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import os
import signal
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from terraster.cli.main import main

from ..harness.backends import ok
from ..harness.client import exchange, get
from ..harness.http2_client import Http2
from ..harness.terraster_process import service
from ..harness.waiting import wait_until


class Folder:
    """A directory of plugins."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        self.path = path

    def put(self, name: str, text: str) -> Path:
        file = self.path / f"{name}.py"
        file.write_text(textwrap.dedent(text))
        return file

    @property
    def key(self) -> dict[str, Any]:
        return {"plugin_directory": str(self.path)}


@pytest.fixture
def plugins(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "plugins")


def told(request: Any) -> bytes:
    """A backend's answer: the fields that it got, and the body."""
    return ok(b"\n".join(b"%b: %b" % field for field in request.fields) + b"\n" + request.body)


TAG = """
    from pydantic import BaseModel, Field

    class Tag:
        name = "tag"

        class Settings(BaseModel):
            word: str = Field("none", description="The word.")

        def setup(self, context):
            self.word = context.settings.word

        def process_request(self, request):
            if request.path == "/teapot":
                return request.answer(418, json={"user": request.headers.get("x-user")}, headers={"X-Made": "1"})
            if request.path == "/tuple":
                return 403, {"X-Why": "no"}, "not you"
            request.headers["X-Word"] = f"{self.word} {request.method} {request.client}"
            del request.headers["X-Drop"]

        def process_response(self, request, response):
            response.headers["X-Status"] = f"{response.status} {response.own}"
            del response.headers["Server"]
    """


def test_a_plugin_changes_requests_and_responses_and_answers_itself(terraster, backend, plugins) -> None:
    plugins.put("tag", TAG)
    one = backend(answer=told)
    served = terraster(
        service(one.url, location={"middleware": [{"tag": {"word": "here"}}]}),
        service(one.url, name="off", host="off.test", plugin_disabled=True),
        middleware=[{"tag": {"word": "everywhere", "on_error": "pass"}}],
        http2=True,
        **plugins.key,
    )
    answer = get(served.address, "/x", fields="X-Drop: 1\r\n")
    assert answer.status == 200 and answer.get("x-status") == "200 False"
    assert b"x-word: here GET 127.0.0.1" in answer.body and b"x-drop" not in answer.body
    answer = get(served.address, "/teapot", fields="X-User: jo\r\n")
    assert (answer.status, answer.body, answer.get("x-made"), answer.get("content-type"), answer.get("x-status")) == (
        418,
        b'{"user": "jo"}',
        "1",
        "application/json",
        "418 True",
    )
    answer = get(served.address, "/tuple")
    assert (answer.status, answer.body, answer.get("x-why")) == (403, b"not you", "no")
    answer = get(served.address, "/teapot", host="off.test")
    assert answer.status == 200 and answer.get("x-status") is None
    with Http2(served.connect()) as client:
        got = client.get("/x")
        assert (got.status, got.get("x-status")) == (200, "200 False") and b"x-word: here GET" in got.body
        got = client.get("/teapot")
        assert (got.status, got.body) == (418, b'{"user": null}')


def test_plugins_run_in_the_order_of_their_priorities_behind_authentication(terraster, backend, plugins) -> None:
    for name, priority in (("a", 5), ("b", -1), ("c", 0)):
        plugins.put(
            f"file_{name}",
            f"""
            class P:
                name = "p_{name}"
                priority = {priority}

                def on_request(self, request):
                    request.headers.add("X-Order", "{name}")

                def on_response(self, request, response):
                    response.headers.add("X-Order", "{name}")
            """,
        )
    one = backend(answer=told)
    answer = get(terraster(service(one.url), middleware=[{"p_c": "off"}], **plugins.key).address)
    assert answer.all("x-order") == ["b", "a"]
    assert [line for line in answer.body.splitlines() if b"x-order" in line] == [b"x-order: b", b"x-order: a"]


FAULTS = """
    import asyncio
    import signal
    import time
    from pydantic import BaseModel

    class Slow(str):
        def __str__(self):
            while True:
                pass

    class Faulty:
        name = "faulty"

        def on_request(self, request):
            match request.path:
                case "/raise":
                    raise KeyError("it")
                case "/exit":
                    raise SystemExit(3)
                case "/loop":
                    while True:
                        pass
                case "/stubborn":
                    while True:
                        try:
                            while True:
                                pass
                        except Exception:
                            pass
                case "/sleep":
                    time.sleep(60)
                case "/deep":
                    self.on_request_deep()
                case "/nonsense":
                    return object()
                case "/cancelled":
                    raise asyncio.CancelledError
                case "/slow":
                    return 200, {"X-Slow": Slow("x")}, ""
                case "/disarm":
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    raise KeyError("it")

        def on_request_deep(self):
            self.on_request_deep()
    """


def test_a_fault_answers_500_and_others_go_on(terraster, backend, plugins) -> None:
    plugins.put("faulty", FAULTS)
    served = terraster(service(backend(answer=ok()).url), middleware=[{"faulty": {"faults": 1000}}], http2=True, **plugins.key)
    for path in ("/raise", "/exit", "/loop", "/stubborn", "/sleep", "/deep", "/nonsense", "/cancelled", "/slow"):
        answer = get(served.address, path)
        assert answer.status == 500 and "the plugin faulty failed" in answer.body.decode(), path
        assert get(served.address, "/good").status == 200, path
    assert get(served.address, "/disarm").status == 500
    time.sleep(0.2)  # the worker looks each 10 ms
    assert get(served.address, "/loop").status == 500
    detail = next(line["detail"] for line in served.log(20) if line["uri"] == "/loop")
    assert detail == "plugin faulty: on_request took longer than 50 ms and was cut off; the plugin faulty failed"
    with Http2(served.connect()) as client:
        first, second = client.open("/sleep"), client.open("/good")
        assert client.answer(second).status == 200
        assert client.answer(first).status == 500


def test_a_fault_is_passed_over_where_the_operator_says_so(terraster, backend, plugins) -> None:
    plugins.put("faulty", FAULTS)
    served = terraster(
        service(backend(answer=ok()).url),
        middleware=[{"faulty": {"on_error": "pass", "timeout": "20ms", "faults": 1000}}],
        **plugins.key,
    )
    for path in ("/raise", "/loop", "/sleep", "/nonsense", "/cancelled"):
        assert get(served.address, path).status == 200, path


def test_faults_in_a_row_put_a_plugin_into_quarantine(terraster, backend, plugins) -> None:
    file = plugins.put("faulty", FAULTS)
    site = service(backend(answer=ok()).url)
    served = terraster(site, middleware=[{"faulty": {"faults": 3}}], **plugins.key)
    for path in ("/raise", "/raise", "/good", "/raise", "/raise"):
        assert get(served.address, path).status == (200 if path == "/good" else 500)
    assert get(served.address, "/good").status == 200
    assert [get(served.address, "/raise").status for _ in range(3)] == [500, 500, 500]
    answer = get(served.address, "/good")
    assert (answer.status, answer.get("retry-after")) == (503, "30")
    assert "is in quarantine" in answer.body.decode()
    wait_until(lambda: "plugin faulty: in quarantine for 30 s after 3 faults in a row" in served.said)
    file.write_text(file.read_text() + "\n# another version\n")
    served.reload(site, middleware=[{"faulty": {"faults": 3}}], **plugins.key)
    assert get(served.address, "/good").status == 200


def test_a_reload_takes_a_new_version_and_keeps_the_old_one_if_that_is_broken(terraster, backend, plugins) -> None:
    text = (
        "class V:\n    name = 'v'\n\n    def process_response(self, request, response):\n        response.headers['X-V'] = '{}'\n"
    )
    file = plugins.put("v", text.format(1))
    site = service(backend(answer=ok()).url)
    served = terraster(site, **plugins.key)
    assert get(served.address).get("x-v") == "1"
    file.write_text(text.format(2))
    outcome = served.reload(site, **plugins.key)
    assert outcome["changes"] == [f"~ plugin v: another version of {file}"]
    assert get(served.address).get("x-v") == "2"
    file.write_text("class V:\n    name = 'v'\n    def process_response(self, request response):\n")
    outcome = served.reload(site, **plugins.key)
    (note,) = [note for note in outcome["notes"] if note.startswith("warning: ")]
    assert note.startswith(f"warning: {file}:3:") and note.endswith("the version that was read before stays in use")
    assert get(served.address).get("x-v") == "2"
    assert f"~ plugin v: the new version of {file} is not used" in outcome["changes"]
    again = served.ctl("reload")
    assert again.returncode == 1 and "nothing to reload" in again.stdout
    last = again.stderr.splitlines()[-1]
    assert last.startswith(f"terrasterctl: reloaded, but the plugin v keeps its old version: {file}:3:"), last
    (row,) = served.status()["plugins"]
    assert row["state"] == "kept" and row["problem"].startswith(f"{file}:3:")
    file.write_text(text.format(3) + "\n    def setup(self, context):\n        raise OSError('not today')\n")
    outcome = served.reload(site, **plugins.key)
    (line,) = outcome["kept"]
    assert line == f"the plugin v keeps its old version: 1 worker could not load it, or set it up; the log says why: {file}"
    assert get(served.address).get("x-v") == "2"
    file.unlink()
    assert served.reload(site, **plugins.key)["changes"][0] == "- plugin v"
    assert get(served.address).get("x-v") is None


DEADLY = """
    import ctypes
    import os
    import resource

    class Deadly:
        name = "deadly"

        def on_request(self, request):
            match request.path:
                case "/exit":
                    os._exit(7)
                case "/crash":
                    ctypes.string_at(0)
                case "/leak":
                    used = int(open("/proc/self/statm").read().split()[0]) * 4096
                    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), used + (64 << 20)))
                    held = []
                    try:
                        while True:
                            held.append(bytearray(1 << 20))
                    except MemoryError:
                        os.kill(os.getpid(), 9)  # as the kernel does where memory is short
    """


@pytest.mark.parametrize("path", ["/exit", "/crash", "/leak"])
def test_a_plugin_in_which_workers_die_is_quarantined_in_all_of_them(fresh, backend, plugins, path: str) -> None:
    file = plugins.put("deadly", DEADLY)
    one = backend(answer=ok())
    sites = service(one.url, name="plain", host="plain.test", plugin_disabled=True), service(one.url)
    keys = {"workers": 2, "middleware": [{"deadly": {"timeout": "5s"}}], **plugins.key}
    served = fresh(*sites, **keys)

    def ask(where: str, host: str = "a") -> int:
        try:
            return get(served.address, where, host=host).status
        except (OSError, AssertionError):
            return 0  # a connection that the worker had

    statuses, others = [], []

    def until_quarantined() -> bool:
        statuses.append(ask(path))
        others.append(ask("/", "plain.test"))
        return statuses[-1] == 503

    wait_until(until_quarantined)
    assert set(statuses[:-1]) == {0} and set(others) == {200}
    wait_until(lambda: "plugin deadly: in quarantine in all workers for 300 s: 3 workers died in it" in served.said)
    assert ") in on_request of the plugin deadly; replaced" in served.said
    wait_until(lambda: len(served.workers()) == 2 and served.status()["plugins"][0]["quarantined_workers"] == 2)
    workers = served.workers()
    assert {ask(path) for _ in range(10)} == {503} and {ask("/", "plain.test") for _ in range(10)} == {200}
    assert served.workers() == workers
    (row,) = served.status()["plugins"]
    assert (row["state"], row["deaths"]) == ("quarantined", len(statuses) - 1)
    assert served.metrics()['terraster_plugin_deaths_total{plugin="deadly"}'] == row["deaths"]
    assert f"{row['deaths']} deaths of workers" in served.ctl("plugins").stdout
    file.write_text("class Deadly:\n    name = 'deadly'\n\n    def on_request(self, request):\n        return 204\n")
    assert served.reload(*sites, **keys)["kept"] == []
    assert {ask(path) for _ in range(4)} == {204}


def test_a_plugin_that_ends_workers_as_it_is_set_up_does_not_stop_a_start(fresh, backend, plugins) -> None:
    """The exit code is the one with which a worker says that it cannot start at all."""
    text = """
        import os

        class End:
            name = "end"

            def setup(self, context):
                {}

            def on_request(self, request):
                return 204
        """
    plugins.put("end", text.format("os._exit(3)"))
    site = service(backend(answer=ok()).url)
    served = fresh(site, **plugins.key)
    answer = wait_until(lambda: get(served.address), tolerate=(OSError, AssertionError))
    assert answer.status == 503 and b"the plugin end is in quarantine" in answer.body
    assert "died (exit code 3) in setup of the plugin end; replaced" in served.said
    plugins.put("end", text.format("pass"))
    served.reload(site, **plugins.key)
    assert get(served.address).status == 204


def test_a_version_that_stays_in_use_is_not_cleaned_up(terraster, backend, plugins) -> None:
    text = """
        class V:
            name = "v"

            def setup(self, context):
                self.text = {}

            def cleanup(self):
                self.text = "cleaned up"

            def process_response(self, request, response):
                response.headers["X-V"] = self.text
        """
    plugins.put("v", text.format("'one'"))
    site = service(backend(answer=ok()).url)
    served = terraster(site, **plugins.key)
    assert get(served.address).get("x-v") == "one"
    plugins.put("v", text.format("1 / 0"))
    assert len(served.reload(site, **plugins.key)["kept"]) == 1
    assert get(served.address).get("x-v") == "one"
    plugins.put("v", text.format("'two'"))
    assert served.reload(site, **plugins.key)["kept"] == []
    assert get(served.address).get("x-v") == "two"


def test_a_worker_hears_signals_that_a_plugin_took(fresh, backend, plugins) -> None:
    plugins.put(
        "taking",
        """
        import signal

        signal.signal(signal.SIGTERM, signal.SIG_IGN)

        class Taking:
            name = "taking"

            def on_request(self, request):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.set_wakeup_fd(-1)
        """,
    )
    served = fresh(service(backend(answer=ok()).url), **plugins.key)
    assert get(served.address).status == 200
    (before,) = served.workers()

    def has_left() -> bool:
        try:
            os.kill(before, signal.SIGTERM)
        except ProcessLookupError:
            return True
        return False

    wait_until(has_left)


def test_a_worker_that_ignores_signals_leaves_when_the_master_stops(fresh, backend, plugins) -> None:
    plugins.put(
        "ignoring",
        """
        import signal

        import gevent

        def ignore():
            while True:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                gevent.sleep(0)

        class Ignoring:
            name = "ignoring"
            begun = False

            def on_request(self, request):
                if not self.begun:
                    self.begun = True
                    gevent.spawn(ignore)
        """,
    )
    served = fresh(service(backend(answer=ok()).url), **plugins.key)
    assert get(served.address).status == 200
    assert served.program.stop() == 0


BODIES = """
    class Bodies:
        name = "bodies"
        request_body_size = 1000
        response_body_size = 1000

        def on_request_body(self, request, body):
            if b"attack" in body:
                return request.answer(403, json={"error": "no"})
            request.headers["X-Length"] = len(body)

        def on_response_body(self, request, response, body):
            return body.upper()
    """


def test_bodies_go_through_a_plugin_up_to_a_bound(terraster, backend, plugins) -> None:
    plugins.put("bodies", BODIES)

    def answer(request: Any) -> bytes:
        if request.target == "/large":
            return ok(b"x" * 1001)
        return ok((request.get("x-length") or "none").encode() + b" " + request.body, b'ETag: "a"\r\n')

    served = terraster(service(backend(answer=answer).url), http2=True, **plugins.key)

    def post(body: bytes, framing: bytes) -> Any:
        return exchange(served.address, b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n" + body)

    got = post(b"hello", b"Content-Length: 5\r\n")
    assert (got.status, got.body, got.get("etag")) == (200, b"5 HELLO", None)
    got = post(b"5\r\nhello\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n")
    assert (got.status, got.body) == (200, b"5 HELLO")
    assert post(b"an attack", b"Content-Length: 9\r\n").status == 403
    assert post(b"x" * 1001, b"Content-Length: 1001\r\n").status == 413
    assert post(b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", b"Transfer-Encoding: chunked\r\n").status == 413
    assert get(served.address, "/large").status == 502
    with served.connect() as client:  # the connection goes on behind an answer in place of a body
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nan attack")
        assert client.response("POST").status == 403
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        client.send(b"ok")
        assert client.response("POST").body == b"2 OK"
    with Http2(served.connect()) as client:
        number = client.open("/", method="POST", end=False)
        client.send(client.data(number, b"attack", True))
        assert client.answer(number).status == 403
        number = client.open("/", method="POST", end=False)
        client.send(client.data(number, b"good", True))
        got = client.answer(number)
        assert (got.status, got.body) == (200, b"4 GOOD")


def test_what_plugins_do_is_counted_and_shown(terraster, backend, plugins) -> None:
    plugins.put(
        "counting",
        """
        class Counting:
            name = "counting"
            counters = {"seen": "Requests seen."}

            def setup(self, context):
                self.context = context
                context.log("hello", "warning")

            def on_request(self, request):
                self.context.count("seen", 2)
                if request.path == "/raise":
                    raise OSError("no")
                if request.path == "/own":
                    return 204

            def on_log(self, request, log):
                assert (log.status, request.path) in ((200, "/"), (500, "/raise"), (503, "/"), (204, "/own"))
        """,
    )
    served = terraster(service(backend(answer=ok()).url), middleware=[{"counting": {"faults": 2}}], **plugins.key)
    for path in ("/", "/own", "/raise", "/raise", "/"):
        get(served.address, path)
    label = '{plugin="counting"}'
    expected = {
        f"terraster_plugin_calls_total{label}": 7.0,
        f"terraster_plugin_answers_total{label}": 1.0,
        'terraster_plugin_faults_total{kind="exception",plugin="counting"}': 2.0,
        'terraster_plugin_faults_total{kind="timeout",plugin="counting"}': 0.0,
        f"terraster_plugin_skipped_total{label}": 3.0,
        f"terraster_plugin_quarantines_total{label}": 1.0,
        f"terraster_plugin_quarantined{label}": 1.0,
        'terraster_plugin_counter_total{counter="seen",plugin="counting"}': 8.0,
    }
    wait_until(lambda: {name: served.metrics().get(name) for name in expected} == expected, lambda: str(served.metrics()))
    (row,) = served.status()["plugins"]
    assert (row["state"], row["services"], row["counters"]) == ("quarantined", ["site"], {"seen": 8})
    assert "plugin-quarantined" in [problem["kind"] for problem in served.status()["problems"]]
    told = served.ctl("plugins").stdout
    assert "counting  QUARANTINED" in told and "quarantine: in 1 worker: 2 exceptions\n" in told
    wait_until(lambda: "plugin counting: hello" in served.said)


def test_a_call_into_c_that_takes_too_long_counts_when_it_returns(terraster, backend, plugins) -> None:
    plugins.put(
        "c",
        """
        import hashlib
        import time

        class C:
            name = "c"

            def on_request(self, request):
                if request.path == "/c":
                    rounds, took = 100_000, 0
                    while took < 0.6:
                        began = time.monotonic()
                        hashlib.pbkdf2_hmac("sha256", b"", b"", rounds)
                        took = time.monotonic() - began
                        rounds *= 4
        """,
    )
    served = terraster(service(backend(answer=ok()).url), **plugins.key)
    assert get(served.address, "/c").status in (200, 500)
    assert get(served.address, "/").status == 200
    wait_until(lambda: served.status()["plugins"][0]["timeouts"] == 1)


def test_a_worker_that_grows_too_much_is_replaced(fresh, backend, plugins) -> None:
    plugins.put(
        "leak",
        """
        class Leak:
            name = "leak"

            def setup(self, context):
                self.kept = []

            def on_request(self, request):
                self.kept.append(bytearray(b"x" * (20 << 20)))
        """,
    )
    served = fresh(service(backend(answer=ok()).url), middleware=[{"leak": {"memory": "64m", "timeout": "5s"}}], **plugins.key)
    (before,) = served.workers()
    for _ in range(5):
        assert get(served.address).status == 200
    wait_until(lambda: before not in served.workers() and served.workers())
    assert get(served.address).status == 200
    assert "the worker has grown by" in served.said


def test_a_plugin_that_is_not_required_stops_no_start(terraster, fresh, backend, plugins) -> None:
    plugins.put("half", "class Half:\n    name = 'half'\n    def on_request(self\n")
    site = service(backend(answer=ok()).url)
    served = terraster(site)
    served.write(site, **plugins.key)
    refused = served.ctl("reload")
    assert refused.returncode == 1 and f"{plugins.path}/half.py:3:" in refused.stderr and get(served.address).status == 200
    outcome = served.reload(site, middleware=[{"half": {"required": "false", "word": "x"}}], **plugins.key)
    (note,) = [note for note in outcome["notes"] if "half" in note]
    assert f"{plugins.path}/half.py:3:" in note and note.endswith("; Terraster runs without it")
    assert get(served.address).status == 200


def test_a_plugin_that_cannot_be_set_up_is_in_quarantine(terraster, backend, plugins) -> None:
    plugins.put(
        "early",
        """
        class Early:
            name = "early"

            def setup(self, context):
                while True:
                    pass
        """.replace("while True:\n                    pass", "raise OSError('not yet')")
        + """
            def on_request(self, request):
                pass
        """,
    )
    served = terraster(service(backend(answer=ok()).url), **plugins.key)
    answer = get(served.address)
    assert (answer.status, answer.get("retry-after")) == (503, "30") and "could not be loaded" in answer.body.decode()
    wait_until(lambda: "plugin early: setup failed: OSError: not yet" in served.said)


def test_a_plugin_of_a_package_is_on_where_it_is_named(fresh, backend, tmp_path, monkeypatch) -> None:
    site = tmp_path / "site"
    info = site / "terraster_geo-1.5.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: terraster-geo\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[terraster.plugins]\ngeo = geo_plugin:Geo\nbroken = geo_plugin:None_\n")
    (site / "geo_plugin.py").write_text(
        "from pydantic import BaseModel\n\n\nclass Geo:\n    name = 'geo'\n\n    class Settings(BaseModel):\n        country: str\n\n"
        "    def setup(self, context):\n        self.settings = context.settings\n\n"
        "    def on_response(self, request, response):\n        response.headers['X-Country'] = self.settings.country\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))
    one = backend(answer=ok())
    named = service(one.url, name="named", host="named.test", middleware=[{"geo": {"country": "de"}}])
    served = fresh(service(one.url), named, start=False)
    served.root = f"{served.root}:{site}"
    served.start()
    assert get(served.address, host="named.test").get("x-country") == "de"
    assert get(served.address).get("x-country") is None
    (row,) = served.status()["plugins"]
    assert (row["origin"], row["version"], row["services"]) == ("package", "1.5", ["named"])
    served.write(service(one.url, middleware=[{"geo": {"county": "de"}}, {"broken": {}}]))
    refused = served.ctl("reload")
    assert refused.returncode == 1
    for words in (
        "unknown key `county`; did you mean `country`?",
        "`country` is missing",
        "`broken` cannot be loaded: AttributeError",
    ):
        assert words in refused.stderr, words


def test_the_example(terraster, backend, tmp_path, capsys) -> None:
    examples = Path(__file__).parents[2] / "etc" / "examples"
    config = yaml.safe_load((examples / "plugins.yaml").read_text())
    folder = tmp_path / config["plugin_directory"]
    folder.mkdir(mode=0o755)
    for name in ("greeting.py", "greeting.requests.json"):
        (folder / name).write_text((examples / "plugin-code" / name).read_text())
    (tmp_path / "plugins.yaml").write_text((examples / "plugins.yaml").read_text())
    assert main(["plugin", "test", str(folder / "greeting.py")]) == 0
    assert main(["--check", "--strict", "--config", str(tmp_path / "plugins.yaml")]) == 0
    assert capsys.readouterr().err == ""
    one = backend(answer=told)
    for location in config["services"][0]["locations"]:
        location["backends"] = [{"url": one.url}]
    served = terraster(*config["services"], middleware=config["middleware"], plugin_directory=str(folder))
    answer = get(served.address, fields="Accept-Language: fr\r\n")
    assert answer.get("x-greeting") == "welcome" and b"x-language: fr" in answer.body
    assert get(served.address, "/plain").get("x-greeting") is None


@pytest.mark.parametrize("hook", ["on_response(self, request, response)", "on_response_body(self, request, response, body)"])
def test_responses_that_a_plugin_must_see_do_not_pass_it_unseen(terraster, backend, plugins, hook: str) -> None:
    """It cannot be set up, so it is in quarantine from the beginning."""
    plugins.put(
        "shut",
        f"class Shut:\n    name = 'shut'\n\n    def setup(self, context):\n        1 / 0\n\n    def {hook}:\n        return None\n",
    )
    served = terraster(service(backend(answer=ok(b"secret")).url), **plugins.key)
    answer = get(served.address)
    assert answer.status == 503 and b"secret" not in answer.body


def test_hooks_that_loop_now_and_then_are_quarantined_for_the_others_that_wait(terraster, backend, plugins) -> None:
    plugins.put("faulty", FAULTS)
    served = terraster(service(backend(answer=ok()).url), middleware=[{"faulty": {"faults": 3, "timeout": "10ms"}}], **plugins.key)
    for _ in range(3):
        assert get(served.address, "/good").status == 200
        assert get(served.address, "/loop").status == 500
    assert get(served.address, "/good").status == 503
    wait_until(lambda: "after 3 hooks that were cut off within 10 s" in served.said)


def test_the_event_loop_that_a_plugin_holds_is_late(terraster, backend, plugins) -> None:
    plugins.put(
        "computing",
        """
        import time

        class Computing:
            name = "computing"

            def on_request(self, request):
                end = time.monotonic() + 0.4
                while request.path == "/hold" and time.monotonic() < end:
                    pass
        """,
    )
    served = terraster(service(backend(answer=ok()).url), workers=1, middleware=[{"computing": {"timeout": "5s"}}], **plugins.key)
    (worker,) = [one for one in served.status()["workers"] if one["role"] == "proxy" and not one["draining"]]
    longest = f'terraster_event_loop_lag_max_seconds{{worker="{worker["seat"]}"}}'
    assert get(served.address, "/hold").status == 200
    wait_until(lambda: served.metrics()[longest] >= 0.25, lambda: str(served.metrics()))  # a sweep was due within the first 0.1 s
    found = served.metrics()
    name, label = "terraster_event_loop_lag_seconds", f'worker="{worker["seat"]}"'
    assert found[f"{name}_count{{{label}}}"] - found[f'{name}_bucket{{le="0.1",{label}}}'] >= 1
    (shown,) = [one["lag"] for one in served.status()["workers"] if one["seat"] == worker["seat"]]
    assert shown >= 0.25 and "its event loop was held" in served.ctl("status").stdout
