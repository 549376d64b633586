"""The special treatment of a call of gRPC (docs/grpc.md): its deadline, and the form of answers that tell its client that it failed.

The HTTP status of such an answer is 200, as gRPC wants it. The exchange keeps the status that the answer would have over HTTP, so that access
log, metrics and rules of operators mean the same for calls as for all other requests.
"""

from __future__ import annotations

from math import inf
from typing import Any

from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.net.http2.request import Request
from terraster.wire import grpc
from terraster.wire.answers import reason_phrase
from terraster.wire.http1 import ResponseHead
from terraster.wire.http2.fields import trailer_block

__all__ = ["begin", "break_off", "final_verdict", "left", "outcome", "seconds_for", "spoken", "verdict"]

_REFUSED = 400
"""From this status on, an answer refuses the call. Others say nothing about it: a redirect, a page."""


def begin(exchange: Exchange) -> None:
    """Note that a request over HTTP/2 is a call, if it is one."""
    if exchange.method == b"POST" and grpc.is_grpc(exchange.field(b"content-type")):
        exchange.grpc = grpc.Call()


def seconds_for(exchange: Exchange, total: float) -> float:
    """The seconds that a call may take, 0.0 = no limit: what the client says in `grpc-timeout`, and at most ``total`` (0.0 = no limit). A
    malformed `grpc-timeout` is left to the backend."""
    said = grpc.time_in(exchange.field(b"grpc-timeout"))
    if not said:
        return total
    call: grpc.Call = exchange.grpc
    call.bound = not total or said < total
    seconds = said if call.bound else total
    call.until = exchange.started + seconds
    return seconds


def spoken(exchange: Exchange, answer: Answer) -> Answer:
    """An answer of our own as a call understands it: trailers-only, if it refuses the call or answers an error."""
    call: grpc.Call = exchange.grpc
    if grpc.status_in(answer.headers) >= 0:  # an operator has written an answer for calls
        call.learn(answer.headers)
        return answer
    if answer.status < _REFUSED and not exchange.error:
        return answer
    if answer.status >= _REFUSED or call.status < 0:
        call.status = grpc.from_answer(answer.status)
    message = call.message or reason_phrase(answer.status).decode("ascii")
    return Answer(200, grpc.refusal(call.status, message, answer.headers))


def break_off(exchange: Exchange) -> None:
    """End the response to a call that an error has cut short: with trailers that say so, if its length is not fixed yet."""
    call: grpc.Call = exchange.grpc
    client: Request = exchange.client
    if not call.open or client.gone or not client.sending:
        call.status = grpc.INTERNAL  # as clients take the reset
        client.abort()
        return
    block = trailer_block(grpc.trailers(call.status, call.message))
    exchange.bytes_out += len(block)
    client.finish(block)


def left(exchange: Exchange) -> bytes:
    """The value of `grpc-timeout` for the current attempt: the time that is left. b"" if there is no deadline that the client knows of."""
    call: grpc.Call = exchange.grpc
    return b"" if call.until == inf else grpc.time_field(call.until - exchange.asked)


def outcome(response: ResponseHead) -> int:
    """The status of a response as `retry.on` means it: that of gRPC, `APART`, if the response is trailers-only, else that of HTTP."""
    number = -1 if response.content_length else grpc.status_in(response.fields)
    return response.status if number < 0 else grpc.APART + number


def verdict(response: ResponseHead, upstream: Any) -> int:
    """The HTTP status by which a backend is judged for a response to a call: that of the status of gRPC if it has come, 0 if it may come in
    trailers."""
    status = outcome(response)
    if status >= grpc.APART:
        return grpc.to_http(status - grpc.APART)
    if status != 200 or response.no_body or response.content_length >= 0:
        return status
    return final_verdict(None, response, upstream, False) if upstream.framed and upstream.complete else 0


def final_verdict(exchange: Exchange | None, response: ResponseHead, upstream: Any, whole: bool) -> int:
    """The same once the call is over. whole: True if the client has the whole response. A response without a status of gRPC counts as its HTTP
    status."""
    number = -1
    if upstream.framed:
        number = grpc.status_in(upstream.trailers) if upstream.complete else -1
    elif whole and exchange is not None:
        number = exchange.grpc.status
    return response.status if number < 0 else grpc.to_http(number)
