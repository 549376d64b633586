"""The gate of the management port: addresses, Host, and requests that come from our own workers."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from terraster.admin.gate import Gate
from terraster.admin.own_sockets import End, is_of, owner
from terraster.admin.server import FACTS, LOCAL
from terraster.admin.site import Refusal
from terraster.config.snapshot import Snapshot, Tls


def refused(snapshot: Snapshot, **environ: Any) -> int:
    """The status, 0 if the request passes."""
    gate = Gate(lambda environ: None, lambda: snapshot, lambda: [os.getpid()])  # type: ignore[arg-type]
    try:
        gate({"PATH_INFO": "/metrics", "REMOTE_ADDR": "192.0.2.1", "HTTP_HOST": "localhost", **environ})
    except Refusal as refusal:
        return refusal.status
    return 0


def config(**keys: Any) -> Snapshot:
    return Snapshot(1, (), (), **keys)


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        ("192.0.2.1", 0),
        ("::ffff:192.0.2.1", 0),
        ("192.0.3.1", 403),
        ("::ffff:192.0.3.1", 403),
        ("2001:db8::1", 0),
        ("2001:db9::1", 403),
        ("fe80::1%eth0", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/openapi.json"])
def test_only_allowed_addresses_pass_whatever_a_header_says(peer, status, path):
    snapshot = config(admin_allowed=("192.0.2.0/24", "2001:db8::/32"))
    assert (
        refused(snapshot, REMOTE_ADDR=peer, PATH_INFO=path, HTTP_X_FORWARDED_FOR="192.0.2.1", HTTP_FORWARDED="for=192.0.2.1")
        == status
    )


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 0),
        ("LOCALHOST.:8081", 0),
        ("127.0.0.1:8081", 0),
        ("[::1]:8081", 0),
        ("", 0),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:8081", 421),
        ("[::2]", 421),
        ("admin.test", 421),
        *(
            (host, 421)
            for host in (
                "[::1].evil",
                "[::1]evil.test:80",
                "localhost:8081.evil",
                "localhost:80:80",
                ":8081",
                ".",
                "[::1",
                "a@localhost",
            )
        ),
    ],
)
def test_on_loopback_only_names_of_this_host_are_taken(host, status):
    assert refused(config(), HTTP_HOST=host) == status
    assert refused(config(), HTTP_HOST=host, PATH_INFO="/readyz") == 0


@pytest.mark.parametrize(
    ("keys", "host", "status"),
    [
        ({"admin_listen": "127.0.0.2:8081"}, "127.0.0.2:8081", 0),
        ({"admin_tls": Tls()}, "admin.test", 0),
        ({"admin_listen": "192.0.2.9:8081"}, "lb.test", 0),
        ({"admin_host": "admin.test"}, "Admin.Test:8081", 0),
        ({"admin_host": "admin.test"}, "localhost", 0),
        ({"admin_host": "admin.test", "admin_tls": Tls()}, "other.test", 421),
        ({"admin_host": "admin.test", "admin_listen": ":8081"}, "admin.test", 0),
        ({"admin_host": "admin.test", "admin_listen": ":8081"}, "localhost", 421),
        ({"admin_host": "admin.test", "admin_listen": ":8081"}, "192.0.2.9", 421),
    ],
)
def test_a_name_is_the_only_one(keys, host, status):
    assert refused(config(**keys), HTTP_HOST=host) == status


@pytest.mark.parametrize(
    ("via", "status"),
    [("1.1 terraster", 403), ("1.0 fred, 2.0 terraster", 403), ("1.1 fred", 0), ("1.1 terraster.example", 0), ("", 0), (",", 0)],
)
def test_the_word_of_a_worker_is_enough(via, status):
    assert refused(config(), HTTP_VIA=via, PATH_INFO="/healthz") == status


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_kernel_says_who_has_the_other_end(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as listener:
        own = End(*listener.getsockname()[:2])
        with socket.create_connection(own) as client:
            server, peer = listener.accept()
            with server:
                found = owner(End(*peer[:2]), own)
                assert found is not None and found.uid == os.geteuid() and found.inode == os.fstat(client.fileno()).st_ino
                assert is_of(found.inode, [os.getpid()]) and not is_of(found.inode, [1 << 22]) and not is_of(1, [os.getpid()])
                environ = {"REMOTE_ADDR": peer[0], "REMOTE_PORT": str(peer[1]), FACTS: {LOCAL: own}}
                assert refused(config(), **environ) == 403
    assert owner(End("192.0.2.1", 1), own) is None and owner(End("", 0), own) is None


def test_an_ipv4_client_of_a_socket_for_both_is_found():
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server, peer = listener.accept()
            with server:
                found = owner(End(*peer[:2]), End(*server.getsockname()[:2]))
                assert found is not None and found.inode == os.fstat(client.fileno()).st_ino
