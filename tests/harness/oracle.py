"""h11 as a second opinion about the corpus."""

from __future__ import annotations

import h11

from .corpus import Case

__all__ = ["request_opinion", "response_opinion"]


def request_opinion(case: Case) -> str:
    """What h11 makes of a request: "accepts", "refuses" or "waits" for more."""
    return _opinion(h11.Connection(h11.SERVER, max_incomplete_event_size=case.limits[0]), case.data)


def response_opinion(case: Case) -> str:
    """What h11 makes of a response to the case's method."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=case.limits[0])
    method = (case.fact("method") or b"GET").decode()
    fields = [("Host", "a.test")]
    if case.fact("upgrade"):
        fields += [("Connection", "upgrade"), ("Upgrade", "websocket")]
    connection.send(h11.Request(method=method, target="/", headers=fields))
    connection.send(h11.EndOfMessage())
    return _opinion(connection, case.data, until_close=case.fact("until-close") == b"yes")


def _opinion(connection: h11.Connection, data: bytes, until_close: bool = False) -> str:
    try:
        connection.receive_data(data)
        if until_close:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, (h11.EndOfMessage, h11.InformationalResponse)) or event is h11.PAUSED:
                return "accepts"
            if event is h11.NEED_DATA:
                return "waits"
    except h11.RemoteProtocolError:
        return "refuses"
