"""What a reload means for a request that is under way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from terraster.config.client_auth import Authorities, ClientAuth
from terraster.config.slo import Slo
from terraster.config.snapshot import AccessLog, Backend, Http2Limits, Limits, Location, Queue, Service, Sticky, Timeouts, Tls
from terraster.config.splitting import Arm, Split
from terraster.worker.generations import CURRENT, KEPT, OUTDATED, judge

from .harness.tls_facts import certificate


def backend(number: int, endpoint: str = "", **keys: object) -> Backend:
    url = f"http://10.0.0.{number}:80"
    return Backend(
        f"site/{url}{'@' + endpoint if endpoint else ''}", url, "http", f"10.0.0.{number}", 80, endpoint=endpoint, **keys
    )


ONE = backend(1)
LOCATION = Location("site/", "/", backends=(ONE, backend(2)), slot=3)
SERVICE = Service("site", ("*",), (":80",), (LOCATION,))


def change(**keys: object) -> Service:
    """The service with another location."""
    return replace(SERVICE, locations=(replace(LOCATION, **keys),))


CASES = [
    ("nothing", SERVICE, CURRENT, CURRENT),
    ("the service has gone", None, OUTDATED, OUTDATED),
    ("the location has gone", replace(SERVICE, locations=(replace(LOCATION, path="/other"),)), OUTDATED, OUTDATED),
    ("another location comes", replace(SERVICE, locations=(LOCATION, replace(LOCATION, id="x", path="/x"))), CURRENT, CURRENT),
    ("another host", replace(SERVICE, hosts=("*", "b.test")), CURRENT, CURRENT),
    ("the service's log", replace(SERVICE, access_log=AccessLog(format="common")), CURRENT, CURRENT),
    ("the service's limits", replace(SERVICE, limits=Limits(body_size=7)), CURRENT, CURRENT),
    ("the service's timeouts", replace(SERVICE, timeouts=Timeouts(tunnel=7.0)), CURRENT, OUTDATED),
    ("the location's timeouts", change(timeouts=Timeouts(tunnel=7.0)), OUTDATED, OUTDATED),
    ("the location's queue", change(queue=Queue(size=7)), OUTDATED, OUTDATED),
    ("the location's objectives", change(slo=Slo(99.9)), OUTDATED, CURRENT),
    ("another backend goes", change(backends=(ONE,)), OUTDATED, CURRENT),
    ("a weight", change(backends=(backend(1, weight=7), backend(2))), OUTDATED, CURRENT),
    ("its backend goes", change(backends=(backend(2),)), OUTDATED, OUTDATED),
    ("its backend's name has another address", change(backends=(backend(1, "10.9.9.9"), backend(2))), OUTDATED, KEPT),
]


@pytest.mark.parametrize(("new", "request_", "tunnel"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_verdicts(new: Service | None, request_: str, tunnel: str) -> None:
    assert judge(SERVICE, new, "site/", "", "") == request_
    assert judge(SERVICE, new, "site/", ONE.id, ONE.url) == tunnel


TLS = Tls(client_auth=ClientAuth("require", "ca.pem", authorities=Authorities(b"", False, 0.0, 0.0, "one")))
SECURE = [
    ("a renewed certificate", replace(TLS, certificates=(certificate("new.pem", "a.test"),)), CURRENT),
    ("other files", replace(TLS, files=(("new.pem", "new.key"),)), CURRENT),
    ("HTTP/2 for new connections", replace(TLS, protocols=("h2", "http/1.1")), CURRENT),
    ("no tickets", replace(TLS, tickets=False), CURRENT),
    ("another minimum", replace(TLS, min_version="1.3"), OUTDATED),
    ("a new list of revoked certificates",
     replace(TLS, client_auth=replace(TLS.client_auth, authorities=Authorities(b"", True, 1.0, 2.0, "two"))), OUTDATED),
    ("no TLS", None, OUTDATED),
]  # fmt: skip


@pytest.mark.parametrize(("new", "verdict"), [case[1:] for case in SECURE], ids=[case[0] for case in SECURE])
def test_tls_ends_a_tunnel_only_if_it_admits_other_clients(new: Tls | None, verdict: str) -> None:
    before = replace(SERVICE, tls=TLS, http2=None)
    after = replace(SERVICE, tls=new, http2=Http2Limits())
    assert judge(before, after, "site/", ONE.id, ONE.url) == verdict


def test_the_weights_of_a_split_end_no_tunnel_and_arms_of_one_path_are_told_apart() -> None:
    def split(weight: int, two: Location) -> Service:
        arms = (Arm("a", 90, "site/#a"), Arm("b", weight, "site/#b"))
        whole = replace(LOCATION, backends=(), split=Split("cookie", "site/", arms, Sticky()))
        return replace(SERVICE, locations=(whole, replace(LOCATION, id="site/#a", arm="a"), two))

    two = replace(LOCATION, id="site/#b", arm="b", backends=(backend(7),))
    old = split(10, two)
    assert judge(old, split(20, two), "site/#a", ONE.id, ONE.url) == CURRENT
    assert judge(old, split(20, replace(two, policy="first")), "site/#a", "", "") == CURRENT
    assert judge(old, split(20, replace(two, policy="first")), "site/#b", "", "") == OUTDATED
