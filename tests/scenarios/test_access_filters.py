"""No way round an access filter: spellings of a path over real connections, HTTP/1 and HTTP/2."""

from __future__ import annotations

from ..harness.backends import ok
from ..harness.client import Connection
from ..harness.http2_client import Http2
from ..harness.spellings import INSIDE, MERGED, OUTSIDE
from ..harness.terraster_process import service

DENY = {"middleware": [{"ip_access": {"deny": ["all"]}}]}


def statuses(proxy, targets: list[bytes], http2: bool) -> dict[bytes, int]:
    found = {}
    if http2:
        with Http2(proxy.connect()) as client:
            return {target: client.get(target.decode()).status for target in targets}
    for target in targets:
        with Connection(proxy.address) as one:
            found[target] = one.send(b"GET %b HTTP/1.1\r\nHost: a.test\r\n\r\n" % target).response().status
    return found


def test_no_spelling_reaches_the_backend(terraster, backend) -> None:
    seen: list[str] = []

    def answer(request):
        seen.append(request.target)
        return ok(b"in")

    origin = backend(answer=answer)
    locations = [{"path": "/", "backends": [origin.url]}, {"path": "/admin", "backends": [origin.url], **DENY}]
    for keys in ({}, {"encoded_slashes": "keep", "merge_slashes": False}):
        proxy = terraster({**service(origin.url), "locations": locations, **keys}, http2=True)
        for http2 in (False, True):
            found = statuses(proxy, INSIDE if keys else INSIDE + MERGED, http2)
            assert {target: status for target, status in found.items() if status not in (400, 403)} == {}
            assert 403 in found.values() and 400 in found.values()
            assert seen == []
            assert set(statuses(proxy, OUTSIDE, http2).values()) == {200}
            seen.clear()


def test_merged_slashes_are_forwarded_merged(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(request.target.encode()))
    for merge, expected in ((True, b"/a/b?x=//y"), (False, b"//a///b?x=//y")):
        proxy = terraster(service(origin.url, merge_slashes=merge))
        with Connection(proxy.address) as one:
            assert one.send(b"GET //a///b?x=//y HTTP/1.1\r\nHost: a.test\r\n\r\n").response().body == expected


def test_encoded_slashes_go_on_where_all_locations_have_the_same_filters(terraster, backend) -> None:
    origin = backend(answer=lambda request: ok(request.target.encode()))
    proxy = terraster(service(origin.url), middleware=[{"ip_access": {"allow": ["127.0.0.0/8"]}}])
    with Connection(proxy.address) as one:
        answer = one.send(b"GET /api/a%2Fb HTTP/1.1\r\nHost: a.test\r\n\r\n").response()
    assert (answer.status, answer.body) == (200, b"/api/a%2Fb")
