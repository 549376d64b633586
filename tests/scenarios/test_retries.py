"""Attempts that fail and are followed by others: where they go, how often, what is sent again, and what never is."""

from __future__ import annotations

import itertools
import threading
import time
from contextlib import ExitStack

import pytest

from ..harness.backends import Backend, Peer, Request, always, ok
from ..harness.client import exchange, get
from ..harness.fault import FAULTS, drips, hangs, refusing_port, resets_before_head
from ..harness.readings import of, quiet, total
from ..harness.terraster_process import service
from ..harness.waiting import wait_until
from ..harness.workers import frozen

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi"

UNAVAILABLE = ok(b"not now", b"Retry-After: 30\r\n", status=b"503 Service Unavailable")


def retry(**keys: object) -> dict[str, object]:
    """Retries as in the test, paid by nobody, and no backend left alone for what it did before."""
    return {"retry": {"min_per_second": 1000, **keys}, "outlier": False}


# ------------------------------------------------------------------------------------------------------------------ how often, where


@pytest.mark.parametrize(("attempts", "made"), [(1, 1), (2, 2), (4, 4)])
def test_attempts(terraster, backend, attempts: int, made: int) -> None:
    """One backend alone is asked again, as often as is allowed."""
    bad = backend(resets_before_head)
    proxy = terraster(bad, **retry(attempts=attempts))
    assert get(proxy.address).status == 502
    assert len(bad.requests) == made
    assert proxy.log()[0]["tries"] == made
    quiet(proxy)


def test_off(terraster, backend) -> None:
    bad, good = backend(resets_before_head), backend(answer=ok())
    proxy = terraster(bad, good, retry=False, outlier=False)
    assert sorted(get(proxy.address).status for _ in range(4)) == [200, 200, 502, 502]


def test_the_same_backend_is_asked_again_only_after_a_pause(terraster, backend) -> None:
    """Which grows, and varies by up to a half."""
    moments = []

    def script(peer: Peer) -> None:
        peer.request()
        moments.append(time.monotonic())
        peer.reset()

    assert get(terraster(backend(script), **retry(attempts=4, backoff="100ms")).address).status == 502
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert len(pauses) == 3
    for pause, longest in zip(pauses, (0.1, 0.2, 0.4), strict=True):
        assert longest / 2 <= pause < longest + 0.2


def test_the_first_retry_elsewhere_does_not_wait(terraster, backend) -> None:
    bad, good = backend(resets_before_head), backend(answer=ok())
    proxy = terraster(bad, good, **retry(backoff="5s"))
    began = time.monotonic()
    for _ in range(4):
        assert get(proxy.address).status == 200
    assert bad.requests
    assert time.monotonic() - began < 2


def test_never_the_same_one_while_there_is_another(terraster, backend) -> None:
    bad = [backend(resets_before_head) for _ in range(3)]
    proxy = terraster(*bad, **retry(attempts=3, backoff="1ms"))
    for count in range(1, 7):
        assert get(proxy.address).status == 502
        assert [len(one.requests) for one in bad] == [count] * 3
    quiet(proxy)


def test_then_one_that_failed_already(terraster, backend) -> None:
    bad = [backend(resets_before_head) for _ in range(2)]
    assert get(terraster(*bad, **retry(attempts=3, backoff="1ms")).address).status == 502
    assert sorted(len(one.requests) for one in bad) == [1, 2]


def test_a_backend_that_got_better_meanwhile(terraster) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        if peer.number:
            peer.send(ok(b"better"))
        else:
            peer.reset()

    with Backend(script) as moody:
        assert get(terraster(moody).address).body == b"better"


@pytest.mark.parametrize(
    ("attempts", "request_octets", "statuses"),
    [(2, GET, {200}), (2, POST, {200}), (1, GET, {200, 502})],
    ids=["get", "post", "a single attempt"],
)
def test_refused_connections_do_not_use_up_attempts(
    terraster, backend, stack: ExitStack, attempts, request_octets, statuses
) -> None:
    """Nothing was sent, and there is somebody who is well: four others that are gone must not hide it. Whoever wants one attempt gets it."""
    good = backend(answer=ok())
    gone = [f"http://127.0.0.1:{stack.enter_context(refusing_port())}" for _ in range(4)]
    proxy = terraster(service(*gone, good.url), **retry(attempts=attempts))
    assert {exchange(proxy.address, request_octets).status for _ in range(10)} == statuses
    quiet(proxy)


def test_behind_refused_connections_the_attempts_are_counted_still(terraster, backend, stack: ExitStack) -> None:
    """Of those that reached somebody there are no more than are configured; a refusal before them counts as one."""
    bad = [backend(resets_before_head) for _ in range(4)]
    gone = [f"http://127.0.0.1:{stack.enter_context(refusing_port())}" for _ in range(2)]
    proxy = terraster(service(*gone, *(one.url for one in bad)), **retry(attempts=2, backoff="1ms"))
    for _ in range(6):
        before = sum(len(one.requests) for one in bad)
        assert get(proxy.address).status == 502
        assert 1 <= sum(len(one.requests) for one in bad) - before <= 2
    quiet(proxy)


def test_the_log_names_who_failed_before(terraster, backend) -> None:
    bad, good = backend(resets_before_head), backend(answer=ok())
    proxy = terraster(bad, good, **retry())
    for _ in range(2):
        assert get(proxy.address).status == 200
    line = next(line for line in proxy.log(2) if line["tries"] == 2)
    assert (line["status"], line["error"]) == (200, "")
    assert bad.url in line["detail"] and good.url in line["upstream"]


# --------------------------------------------------------------------------------------------------------------------------- statuses


def test_a_status_is_tried_elsewhere(terraster, backend) -> None:
    full, good = backend(answer=UNAVAILABLE), backend(answer=ok(b"good"))
    proxy = terraster(full, good, **retry(on=503))
    assert {get(proxy.address).body for _ in range(6)} == {b"good"}
    assert len(full.requests) >= 3
    quiet(proxy)


def test_statuses_that_are_not_listed_are_answers(terraster, backend) -> None:
    bad, good = backend(FAULTS["500s"]), backend(answer=ok())
    proxy = terraster(bad, good, **retry(on=[502, 503]))
    assert sorted(get(proxy.address).status for _ in range(4)) == [200, 200, 500, 500]


def test_where_there_is_no_other_the_client_gets_to_see_it(terraster, backend) -> None:
    full = backend(answer=UNAVAILABLE)
    answer = get(terraster(full, **retry(on=503)).address)
    assert (answer.status, answer.body, answer.get("retry-after")) == (503, b"not now", "30")
    assert len(full.requests) == 1


def test_where_attempts_are_used_up_the_client_gets_the_last_one(terraster, backend) -> None:
    full = [backend(answer=UNAVAILABLE) for _ in range(3)]
    answer = get(terraster(*full, **retry(on=503, attempts=2)).address)
    assert (answer.status, answer.body) == (503, b"not now")
    assert sum(len(one.requests) for one in full) == 2


def test_a_post_is_not_tried_again_for_a_status(terraster, backend) -> None:
    full, good = backend(answer=UNAVAILABLE), backend(answer=ok())
    proxy = terraster(full, good, **retry(on=503))
    assert sorted(exchange(proxy.address, POST).status for _ in range(6)) == [200] * 3 + [503] * 3
    assert len(full.requests) + len(good.requests) == 6


def test_where_the_budget_is_spent_the_client_gets_to_see_it(terraster, backend) -> None:
    full, good = backend(answer=UNAVAILABLE), backend(answer=ok())
    proxy = terraster(full, good, retry={"on": 503, "budget": "0%", "min_per_second": 0}, outlier=False)
    assert sorted(get(proxy.address).status for _ in range(4)) == [200, 200, 503, 503]
    assert total(proxy, "terraster_location_retry_budget_refusals_total") == 2
    quiet(proxy)


def test_who_said_retry_after_is_not_asked_again(terraster, backend) -> None:
    """Not even when the only other one cannot be reached."""
    full = backend(answer=UNAVAILABLE)
    with refusing_port() as port:
        proxy = terraster(service(full.url, f"http://127.0.0.1:{port}"), **retry(on=503, attempts=4))
        for count in range(1, 5):
            assert get(proxy.address).status in (502, 503)
            assert len(full.requests) == count
    quiet(proxy)


def test_a_status_is_tried_at_a_backend_that_starts_slowly(terraster, backend) -> None:
    """It gets few requests of its own, but it is better than the answer that nobody wants."""
    full, fresh = backend(answer=UNAVAILABLE), backend(answer=ok(b"fresh"))
    keys, location = retry(on=503), {"lb_policy": "first", "slow_start": "60s"}
    proxy = terraster(service(full.url, location=location), **keys)
    assert get(proxy.address).status == 503
    proxy.reload(service(full.url, fresh.url, location=location), **keys)
    assert [get(proxy.address).body for _ in range(20)] == [b"fresh"] * 20


def test_a_connection_whose_answer_was_not_used_is_used_again(terraster, backend) -> None:
    full, good = backend(answer=UNAVAILABLE), backend(answer=ok())
    proxy = terraster(full, good, **retry(on=503))
    for _ in range(10):
        assert get(proxy.address).status == 200
    assert len(full.peers) == 1


def test_an_answer_that_is_not_used_and_has_no_end(terraster, backend) -> None:
    """Its connection is closed: nobody waits for the rest."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 100\r\n\r\nnot")
        peer.rest()

    full, good = backend(script), backend(answer=ok())
    proxy = terraster(full, good, **retry(on=503))
    for _ in range(4):
        assert get(proxy.address).status == 200
    assert all(peer.ended.wait(5) for peer in full.peers)


# ------------------------------------------------------------------------------------------------------------------------ what is sent


@pytest.mark.parametrize(("configured", "status"), [(False, 502), (True, 200)])
def test_an_idempotency_key_counts_where_it_is_configured(terraster, backend, configured: bool, status: int) -> None:
    keyed = POST.replace(b"\r\n\r\n", b"\r\nIdempotency-Key: 1\r\n\r\n")
    bad, good = backend(resets_before_head), backend(answer=ok())
    proxy = terraster(bad, good, **retry(idempotency_key=configured))
    assert {exchange(proxy.address, keyed).status for _ in range(4)} == {200, status}
    assert {exchange(proxy.address, POST).status for _ in range(4)} == {200, 502}


BODY = bytes(range(256)) * 8


def late(method: bytes, body: bytes, chunked: bool) -> list[bytes]:
    """A request whose body comes in pieces behind its head."""
    if chunked:
        pieces = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:700], body[700:701], body[701:])]
        return [b"%b / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n" % method, *pieces, b"0\r\nX-Sum: 1\r\n\r\n"]
    head = b"%b / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % (method, len(body))
    return [head, body[:700], body[700:701], body[701:]]


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_a_body_that_comes_late_is_sent_again_octet_for_octet(terraster, backend, chunked: bool) -> None:
    bad, good = backend(resets_before_head), backend(answer=lambda request: ok(request.body))
    proxy = terraster(bad, good, **retry())
    with proxy.connect() as client:
        for _ in range(4):
            for piece in late(b"PUT", BODY, chunked):
                client.send(piece)
                time.sleep(0.02)
            answer = client.response("PUT")
            assert (answer.status, answer.body) == (200, BODY)
            if "close" in answer.all("connection"):
                client.close()
                client.__init__(proxy.address)
    assert [request.body for request in bad.requests] == [BODY] * len(bad.requests)
    assert bad.requests and len(good.requests) == 4
    if chunked:
        assert {tuple(request.trailers) for request in good.requests} == {((b"x-sum", b"1"),)}
    quiet(proxy)


def test_a_body_of_which_a_part_was_sent_is_sent_from_its_beginning(terraster, backend) -> None:
    """The first backend resets in the middle; the second gets what the first had got, and then the rest as it comes."""
    half = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        while not peer.received.endswith(b"first half, "):
            if not peer._receive():
                return
        half.set()
        peer.reset()

    bad, good = backend(script), backend(answer=lambda request: ok(request.body))
    proxy = terraster(bad, good, **retry())
    for _ in range(2):
        half.clear()
        with proxy.connect() as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 23\r\n\r\n").send(b"first half, ")
            half.wait(0.2)
            time.sleep(0.1)
            client.send(b"second half")
            answer = client.response("PUT")
            assert (answer.status, answer.body) == (200, b"first half, second half")
    assert bad.peers


@pytest.mark.parametrize(("size", "status"), [(len(BODY), 200), (len(BODY) - 1, 502)])
def test_a_body_larger_than_what_is_kept_is_not_sent_again(terraster, backend, size: int, status: int) -> None:
    bad, good = backend(resets_before_head), backend(answer=lambda request: ok(request.body))
    proxy = terraster(bad, good, **retry(body_size=size))
    statuses = set()
    for _ in range(4):
        with proxy.connect() as client:
            for piece in late(b"PUT", BODY, False):
                client.send(piece)
                time.sleep(0.01)
            statuses.add(client.response("PUT").status)
    assert statuses == {200, status}
    assert len(good.requests) == (4 if status == 200 else 2)


def test_what_is_pipelined_behind_a_body_that_was_sent_again_is_answered(terraster, backend) -> None:
    bad, good = backend(resets_before_head), backend(answer=lambda request: ok(request.method.encode()))
    proxy = terraster(bad, good, **retry())
    for _ in range(2):
        with proxy.connect() as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n")
            time.sleep(0.05)
            client.send(b"late" + GET.replace(b"GET", b"OPTIONS"))
            assert client.response("PUT").body == b"PUT"
            assert client.response("OPTIONS").body == b"OPTIONS"


@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_a_post_is_never_executed_twice(terraster, backend, fault: str) -> None:
    """Whatever becomes of it: counted by an id in its body where it is executed."""
    executed: list[bytes] = []

    def note(request: Request) -> bytes:
        executed.append(request.body)
        return ok()

    good = backend(always(note))
    with Backend(FAULTS[fault]) as bad:
        proxy = terraster(bad, good, timeouts={"response": "200ms", "read": "500ms"}, **retry(on="500-599", attempts=5))
        for number, form in enumerate(["at once", "late", "chunks", "at once"] * 3):
            body = b"order-%02d" % number
            head = b"POST / HTTP/1.1\r\nHost: a.test\r\n"
            with proxy.connect() as client:
                if form == "chunks":
                    client.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
                    time.sleep(0.02)
                    client.send(b"8\r\n%b\r\n0\r\n\r\n" % body)
                else:
                    client.send(head + b"Content-Length: 8\r\n\r\n")
                    if form == "late":
                        time.sleep(0.02)
                    client.send(body)
                client.sock.settimeout(5)
                client.sock.recv(65536)
        executed += [request.body for request in bad.requests]
        quiet(proxy)
    assert len(executed) == len(set(executed)), sorted(executed)


@pytest.mark.parametrize("farewell", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"])
def test_a_body_does_not_go_to_a_connection_that_the_backend_has_closed(terraster, backend, farewell: bytes) -> None:
    """Its end is there, but not noticed yet: head and end come at once, to a worker that was busy. The body comes later."""
    origin = backend(answer=lambda request: ok(request.body))
    proxy = terraster(origin, retry=False, outlier=False)
    (worker,) = proxy.workers()
    assert get(proxy.address).status == 200
    idle = origin.peers[-1]
    with proxy.connect() as client:
        wait_until(lambda: total(proxy, "terraster_connections") == 1)
        with frozen(worker):
            if farewell:
                idle.send(farewell)
            idle.close()
            client.send(b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\n")
        origin.wait_peer(1)
        client.send(b"body")
        answer = client.response("PUT")
        assert (answer.status, answer.body) == (200, b"body")
        assert client.send(GET).response().status == 200
    wait_until(lambda: total(proxy, "terraster_connections") == 0, "a client that nobody looks after any more", 3)
    assert total(proxy, "terraster_backend_failures_total") == 0


# --------------------------------------------------------------------------------------------------------------------- per_try_timeout


def test_per_try_timeout(terraster, backend) -> None:
    hung, good = backend(hangs), backend(answer=ok())
    proxy = terraster(hung, good, **retry(per_try_timeout="200ms"))
    for _ in range(4):
        began = time.monotonic()
        assert get(proxy.address).status == 200
        assert time.monotonic() - began < 1.5
    assert len(hung.requests) >= 2
    quiet(proxy)


def test_per_try_timeout_of_a_post(terraster, backend) -> None:
    hung = backend(hangs)
    proxy = terraster(hung, backend(hangs), **retry(per_try_timeout="200ms"))
    assert exchange(proxy.address, POST).status == 504
    assert total(proxy, "terraster_backend_requests_total") == 1


def test_per_try_timeout_counts_until_the_whole_head(terraster, backend) -> None:
    """An octet now and then does not start it anew."""
    dripping, good = backend(drips(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 100, 0.1)), backend(answer=ok())
    proxy = terraster(dripping, good, **retry(per_try_timeout="300ms"))
    for _ in range(2):
        began = time.monotonic()
        assert get(proxy.address).status == 200
        assert time.monotonic() - began < 2
    assert dripping.requests


def test_per_try_timeout_does_not_count_what_the_client_takes(terraster, backend) -> None:
    """A client that sends its body slowly says nothing about a backend."""
    origin = backend(answer=lambda request: ok(request.body))
    proxy = terraster(origin, **retry(per_try_timeout="200ms"))
    with proxy.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n").send_slowly(b"0123456789", 1, 0.2)
        assert client.response("POST").status == 200
    assert of(proxy, "terraster_backend_failures_total", origin.url) == 0


def test_per_try_timeout_does_not_end_an_answer_that_has_begun(terraster, backend) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for octet in b"0123456789":
            time.sleep(0.15)
            peer.send(bytes([octet]))

    assert get(terraster(backend(script), **retry(per_try_timeout="200ms")).address).body == b"0123456789"


# ------------------------------------------------------------------------------------------------------------------------------ budget


@pytest.mark.parametrize("workers", [1, 2])
def test_retries_cannot_make_an_outage_worse(terraster, backend, workers: int) -> None:
    """All backends reset all requests: no more than a fifth is added, and the few that are free."""
    bad = [backend(resets_before_head) for _ in range(3)]
    free = 2
    proxy = terraster(*bad, workers=workers, outlier=False, retry={"min_per_second": free, "backoff": 0})
    requests = 400

    def load() -> None:
        for _ in range(requests // 8):
            assert get(proxy.address).status == 502

    began = time.monotonic()
    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    made = sum(len(one.requests) for one in bad) - requests
    assert free * 10 * 0.9 <= made <= 0.2 * requests + free * (10 + took) + workers
    assert total(proxy, "terraster_location_retries_total") == made
    assert total(proxy, "terraster_backend_retries_total") == made
    assert total(proxy, "terraster_location_retry_budget_refusals_total") > 0
    quiet(proxy)


def test_connections_that_are_refused_cost_no_budget(terraster, backend) -> None:
    """Nothing was sent, so nobody has more work; and GET and POST are alike."""
    good = backend(answer=ok())
    with refusing_port() as port:
        proxy = terraster(service(f"http://127.0.0.1:{port}", good.url), outlier=False, retry={"budget": "0%", "min_per_second": 0})
        for _ in range(6):
            assert exchange(proxy.address, POST).status == get(proxy.address).status == 200
        assert total(proxy, "terraster_location_retry_budget_refusals_total") == 0
        assert total(proxy, "terraster_location_retries_total") == of(
            proxy, "terraster_backend_connect_errors_total", f"http://127.0.0.1:{port}"
        )


# -------------------------------------------------------------------------------------------------------------------- clients that leave


@pytest.mark.parametrize("backends", [1, 2])
def test_a_client_that_leaves_between_two_attempts(terraster, backend, backends: int) -> None:
    bad = [backend(resets_before_head) for _ in range(backends)]
    proxy = terraster(*bad, **retry(attempts=10, backoff="1900ms"))
    with proxy.connect() as client:
        client.send(GET)
        wait_until(lambda: total(proxy, "terraster_backend_failures_total") == backends)
    made = sum(len(one.requests) for one in bad)
    line = proxy.log()[0]
    assert line["status"] == 499
    assert line["duration"] < 1.5
    quiet(proxy)
    time.sleep(2.0)
    assert sum(len(one.requests) for one in bad) == made, "the request was tried again for nobody"
    assert total(proxy, "terraster_backend_failures_total") == made
    wait_until(lambda: total(proxy, "terraster_backend_open_connections") == 0)
