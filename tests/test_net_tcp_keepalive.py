"""TCP keepalive: the options of new sockets, and what accepted connections inherit."""

from __future__ import annotations

import socket

import pytest

from terraster.net import tcp_keepalive


def of(sock: socket.socket) -> tuple[int, ...]:
    """1 if it probes, else 0; the seconds before the first probe, the seconds between two, how many there are."""
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    return (sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *(sock.getsockopt(socket.IPPROTO_TCP, one) for one in options))


@pytest.mark.parametrize(
    ("seconds", "found"),
    [(60.0, (1, 60, 10, 6)), (1.0, (1, 1, 1, 6)), (0.2, (1, 1, 1, 6)), (90.5, (1, 91, 16, 6)), (32767.0, (1, 32767, 5462, 6))],
)
def test_the_kernel_takes_the_options(seconds: float, found: tuple[int, ...]) -> None:
    with socket.socket() as one:
        for level, option, value in tcp_keepalive.options(seconds):
            one.setsockopt(level, option, value)
        assert of(one) == found


def test_off_costs_a_new_socket_nothing() -> None:
    assert tcp_keepalive.options(0.0) == ()


def test_accepted_connections_inherit_from_the_listener_until_it_is_switched_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket(socket.AF_UNIX) as unix:
        tcp_keepalive.apply(60.0, [listening, unix])
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert of(accepted) == (1, 60, 10, 6)
            tcp_keepalive.apply(0.0, [listening, unix])
            assert of(accepted)[0] == 1
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            assert of(accepted)[0] == 0
