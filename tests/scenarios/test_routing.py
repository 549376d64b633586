"""Listener and Host find the service, the path finds the location, and what was matched is what is forwarded."""

from __future__ import annotations

import pytest

from ..harness.backends import Request, ok
from ..harness.client import get
from ..harness.ports import free_port
from ..harness.terraster_process import backends, service


@pytest.fixture
def named(backend):
    """Backends that say their name, and what they were asked."""

    def make(name: str):
        return backend(answer=lambda request: ok(f"{name} {request.target}".encode()))

    return make


def test_hosts(terraster, named) -> None:
    proxy = terraster(
        service(named("exact").url, name="exact", host="www.example.com"),
        service(named("wild").url, name="wild", host="*.example.com"),
        service(named("longer").url, name="longer", host="*.api.example.com"),
        service(named("expression").url, name="expression", host=r"~^shop[0-9]+\.(example\.com|example\.org|test)$"),
        service(named("rest").url, name="rest", host="*"),
    )
    for host, name in [
        ("www.example.com", "exact"),
        ("WWW.Example.COM", "exact"),
        ("www.example.com:8080", "exact"),
        ("www.example.com.", "exact"),
        ("shop.example.com", "wild"),
        ("a.b.example.com", "wild"),
        ("v1.api.example.com", "longer"),
        ("api.example.com", "wild"),
        ("shop7.test", "expression"),
        ("SHOP12.Example.Org:81", "expression"),
        ("shop7.example.com", "wild"),
        ("shop.test", "rest"),
        ("shop7.test.evil.com", "rest"),
        ("example.com", "rest"),
        ("notexample.com", "rest"),
        ("evil.com", "rest"),
        ("[::1]", "rest"),
        ("127.0.0.1", "rest"),
    ]:
        assert get(proxy.address, host=host).body == f"{name} /".encode(), host


def test_the_port_in_host_chooses_nothing(terraster, named) -> None:
    """The listener does: a client may write any port into Host."""
    other = free_port()
    proxy = terraster(
        service(named("one").url, name="one", host="a.test"),
        service(named("two").url, name="two", host="a.test", listen=f"127.0.0.1:{other}"),
    )
    for port in (proxy.port, other, 80, 1):
        assert get(proxy.address, host=f"a.test:{port}").body == b"one /"
        assert get(("127.0.0.1", other), host=f"a.test:{port}").body == b"two /"


def test_unknown_hosts_are_misdirected(terraster, named) -> None:
    proxy = terraster(service(named("one").url, name="one", host=["a.test", r"~c[0-9]\.test"]))
    assert get(proxy.address, host="c1.test").status == 200
    assert [get(proxy.address, host=host).status for host in ("b.test", "c10.test")] == [421, 421]


def test_longest_prefix_on_segment_boundaries(terraster, named) -> None:
    paths = {"/": "root", "/api": "api", "/api/v2/": "v2", "/static/": "static"}
    locations = [{"path": path, "backends": backends(named(name).url)} for path, name in paths.items()]
    proxy = terraster({"name": "site", "host": "*", "locations": locations})
    for target, name in [
        ("/", "root"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/x", "api"),
        ("/apifoo", "root"),
        ("/api/v2", "v2"),
        ("/api/v2/x", "v2"),
        ("/api/v22", "api"),
        ("/static", "static"),
        ("/static/x", "static"),
        ("/API", "root"),
        ("/other?x=/api", "root"),
    ]:
        assert get(proxy.address, target).body.split()[0] == name.encode(), target


def test_every_request_is_routed_by_its_own_path(terraster, named) -> None:
    """Not by the first that came on the connection, or from the host."""
    locations = [{"path": "/a", "backends": backends(named("a").url)}, {"path": "/b", "backends": backends(named("b").url)}]
    with terraster({"name": "site", "host": "*", "locations": locations}).connect() as client:
        for name in "abbaab":
            answer = client.send(f"GET /{name}/x HTTP/1.1\r\nHost: a.test\r\n\r\n".encode()).response()
            assert answer.body == f"{name} /{name}/x".encode()


@pytest.mark.parametrize(
    ("target", "location", "forwarded"),
    [
        ("/public/../admin/x", "admin", "/admin/x"),
        ("/public/%2e%2e/admin/x", "admin", "/admin/x"),
        ("/public/./x", "public", "/public/x"),
        ("/%61dmin/x", "admin", "/admin/x"),
        ("/public/%7Euser", "public", "/public/~user"),
        ("/public/a%2Fb", "public", "/public/a%2Fb"),
        ("/public%2Fadmin", "root", "/public%2Fadmin"),
        ("/public/a%20b", "public", "/public/a%20b"),
        ("/public/%c3%a9", "public", "/public/%C3%A9"),
        ("/public/x?a=../b&c=%2e%2e&d=%2F", "public", "/public/x?a=../b&c=%2e%2e&d=%2F"),
        ("/public/x?", "public", "/public/x?"),
        ("/public/x%3Fy", "public", "/public/x%3Fy"),
        ("/public//x", "public", "/public/x"),
        ("/public/x/..", "public", "/public/"),
    ],
)
def test_one_canonical_path_is_matched_and_forwarded(terraster, named, target: str, location: str, forwarded: str) -> None:
    locations = [
        {"path": "/", "backends": backends(named("root").url)},
        {"path": "/public", "backends": backends(named("public").url)},
        {"path": "/admin", "backends": backends(named("admin").url)},
    ]
    proxy = terraster({"name": "site", "host": "*", "locations": locations})
    assert get(proxy.address, target).body.decode() == f"{location} {forwarded}"


@pytest.mark.parametrize("target", ["/a%00b", "/public/..%2fadmin", "/public/%2e%2e%5cadmin", "/a%zz", "/a%2"])
def test_targets_that_hide_something_are_refused(terraster, named, target: str) -> None:
    assert get(terraster(service(named("one").url)).address, target).status == 400


def test_encoded_slashes_may_be_refused_altogether(terraster, named) -> None:
    proxy = terraster(service(named("one").url, encoded_slashes="refuse"))
    assert get(proxy.address, "/a%2Fb").status == 400
    assert get(proxy.address, "/a%5Cb").status == 400
    assert get(proxy.address, "/a/b").status == 200


@pytest.mark.parametrize(
    ("path", "rewrite", "base", "target", "forwarded"),
    [
        ("/", "/frontend/", "", "/x?q=1", "/frontend/x?q=1"),
        ("/", "/frontend/", "", "/", "/frontend/"),
        ("/api/", "/", "", "/api/users", "/users"),
        ("/api/", "/v1/", "", "/api/users", "/v1/users"),
        ("/api", "/v1", "", "/api", "/v1"),
        ("/api", "/v1", "", "/api/x", "/v1/x"),
        ("/", "", "/base", "/x", "/base/x"),
        ("/", "", "/base/", "/x", "/base/x"),
        ("/api", "/v1", "/base", "/api/x?y", "/base/v1/x?y"),
    ],
)
def test_rewrite_and_base_path(terraster, named, path: str, rewrite: str, base: str, target: str, forwarded: str) -> None:
    location = {"rewrite": rewrite} if rewrite else {}
    proxy = terraster(service(named("site").url + base, path=path, location=location))
    assert get(proxy.address, target).body.decode() == f"site {forwarded}"


@pytest.mark.parametrize("listen", ["[::1]:{port}", "unix:{folder}/socket"])
def test_other_listeners(terraster, backend, tmp_path, listen: str) -> None:
    port = free_port("::1")
    origin = backend(answer=ok())
    where = listen.format(port=port, folder=tmp_path)
    terraster(service(origin.url, listen=[where]))
    address = str(tmp_path / "socket") if where.startswith("unix") else ("::1", port)
    assert get(address).status == 200
    assert origin.requests[0].get("x-forwarded-for") == (
        "::1" if isinstance(address, tuple) else origin.requests[0].get("x-real-ip")
    )


def test_options_of_the_whole_server(terraster, backend) -> None:
    requests: list[Request] = []
    origin = backend(answer=lambda request: requests.append(request) or ok())
    with terraster(origin).connect() as client:
        assert client.send(b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n").response("OPTIONS").status == 200
    assert requests[0].target == "*"


def test_round_robin_and_weights(terraster, named) -> None:
    proxy = terraster(
        service(named("a").url, named("b").url, name="even", host="even.test"),
        service(
            {"url": named("heavy").url, "weight": 3},
            {"url": named("light").url, "weight": 1},
            name="weighted",
            host="weighted.test",
            location={"lb_policy": "weighted-round-robin"},
        ),
    )
    assert [get(proxy.address, host="even.test").body.split()[0] for _ in range(4)] in ([b"a", b"b"] * 2, [b"b", b"a"] * 2)
    heavy = [get(proxy.address, host="weighted.test").body.split()[0] for _ in range(8)]
    assert heavy.count(b"heavy") == 6
    assert b"heavy heavy heavy heavy" not in b" ".join(heavy)
