"""Respond: relay a backend's response, or send our own answer, or the answer to an error."""

from __future__ import annotations

from typing import Any

from terraster.errors import BadResponse, HttpError
from terraster.exchange import Exchange
from terraster.filters.answer import Answer
from terraster.logs.failures import BACKEND_STATUS
from terraster.net.body import ChunkedSource, PlainSink, Source, UntilCloseSource, relay_body, whole
from terraster.net.connection import Connection
from terraster.net.downstream import Downstream
from terraster.net.http2.backend_request import BackendRequest, FrameSource
from terraster.net.http2.request import Request
from terraster.net.known_source import FullSource, KnownSource
from terraster.net.transformed import relay_transformed
from terraster.wire.answers import BODILESS, OwnHead, error_answer
from terraster.wire.heads import RequestHead
from terraster.wire.transform import Transform

from .ahead import relay_ahead
from .attempt import RESPONSE_READ, Attempt
from .call import break_off, spoken
from .data_plane import DataPlane
from .downstream_head import PLAIN, SINKS, write_head
from .upgrade import upgrade

__all__ = ["error", "own", "relay"]

_LARGE = 65536
"""From this many octets on, a part of an answer may still be under way when the last `send` returns."""

_READ = RESPONSE_READ


def relay(plane: DataPlane, attempt: Attempt) -> bool:
    """Relay a backend's response as it arrives. True if the client's connection can carry another request."""
    exchange, response, sender = attempt.exchange, attempt.response, attempt.sender
    upstream: Any = attempt.upstream
    exchange.status = response.status
    if exchange.grpc is not None:
        exchange.grpc.learn(response.fields)
        exchange.grpc.open = response.chunked
    if response.upgrade is not None:
        return upgrade(plane, attempt)
    head: RequestHead = exchange.head
    if response.status < 300:
        if head.protocol is not None:  # to the client it would look as if the tunnel were open
            raise BadResponse("the backend did not switch protocols")
    elif response.status >= 500:
        plane.failures.note(exchange, response.status, BACKEND_STATUS)
    client: Any = exchange.client
    connection: Connection = exchange.connection
    keep = head.keep_alive and not (plane.draining or plane.crowded or connection.listener.closed)
    if sender is not None and not sender.done:
        keep = False
    out, keep, framing, drop, changed = write_head(plane, exchange, response, keep)
    stays = keep or sender is not None  # the client may still be sending, so the end may take a while
    transform: Transform | None = None
    if changed is not None and not isinstance(changed, bytes):
        transform = changed
    rest, timeout, framed = attempt.rest, attempt.location.read_timeout, attempt.framed
    attempt.look = response.size + len(rest) >= _READ  # the read was full, so more octets may follow
    length = response.content_length
    if framed or length != len(rest):  # more of the body is waited for, or may be
        upstream.phase = "read"
    if changed is not None and isinstance(changed, bytes) and not response.no_body:
        attempt.discard()
        if response.chunked and not framed:
            theirs = ChunkedSource(upstream, rest, timeout, attempt.location.strict_responses)
            theirs.here()
            attempt.reusable = response.keep_alive and theirs.reusable
        exchange.bytes_out += len(out) + len(changed)
        client.answer(out, changed, timeout, stays)
    elif response.no_body or not (length or (framed and upstream.trails)):
        exchange.bytes_out += len(out)
        client.answer(out, b"", timeout, stays)
        attempt.reusable = response.keep_alive and not rest
        upstream.doubtful = True  # a faulty backend may send a body all the same, and late
    elif framed:
        frames = _frames(attempt, upstream)
        if frames.done and length > 0 and transform is None and not frames.trailers:
            body = bytes(frames.here())
            exchange.bytes_out += len(out) + len(body)
            if isinstance(client, Request) and client.window < len(body):
                attempt.whole(frames.reusable)
            client.answer(out, body, timeout, stays)
        else:
            _relay(plane, frames, SINKS[framing](exchange, timeout, out, drop), transform, attempt)
        attempt.reusable = frames.reusable
    elif length > 0:
        left = length - len(rest)
        if left > 0 and length <= attempt.location.retry.response_size:
            rest = rest + whole(upstream, left, timeout)
            left, attempt.look = 0, True
        if left < 0:  # more octets than announced: they belong to no response
            rest = rest[:length]
        direct = transform is None and exchange.buffering is None
        if direct and left > 0 and attempt.look and framing == PLAIN and not upstream.stream.buffers:
            known: KnownSource = FullSource(upstream, upstream.plain, out + rest, left, timeout, plane.buffer)
            relay_body(known, PlainSink(exchange, timeout, b"", drop))
            attempt.look = not known.quiet
            left = 0 if known.reusable else -1
        elif left > 0 or not direct:
            known = KnownSource(upstream, rest, max(left, 0), timeout, plane.buffer)
            known.reusable = known.reusable and left == 0
            _relay(plane, known, SINKS[framing](exchange, timeout, out, drop), transform, attempt)
            if left > 0:
                attempt.look = not known.quiet
                left = 0 if known.reusable else -1
        else:
            exchange.bytes_out += len(out) + len(rest)
            if exchange.framed:
                if client.window < len(rest):
                    attempt.whole(response.keep_alive and left >= 0)  # no backend waits for a client that gives no window
                client.answer(out, rest, timeout, stays)
            else:
                plain: Downstream = client
                plain.answer(out, rest, timeout, stays)
        attempt.reusable = response.keep_alive and left >= 0
    else:
        source: Source
        if response.chunked:
            source = ChunkedSource(upstream, rest, timeout, attempt.location.strict_responses)
        else:
            source = UntilCloseSource(upstream, rest, timeout)
        source.quiet = not attempt.look
        _relay(plane, source, SINKS[framing](exchange, timeout, out, drop), transform, attempt)
        attempt.look = not source.quiet
        attempt.reusable = response.keep_alive and source.reusable
    if sender is not None and not sender.done:  # the answer came before the end of the request: the client may still be sending
        keep = attempt.reusable = False
        connection.lingering = True
    elif not keep and exchange.bytes_out >= _LARGE:
        connection.lingering = True
    return keep


def _relay(plane: DataPlane, source: Source, sink: PlainSink, transform: Transform | None, attempt: Attempt) -> None:
    buffering = attempt.exchange.buffering
    if buffering is not None and buffering.takes(attempt.response):
        relay_ahead(attempt, source, sink, transform)
    elif transform is None:
        relay_body(source, sink)
    else:
        relay_transformed(source, sink, transform, plane.reactor)


def _frames(attempt: Attempt, upstream: BackendRequest) -> FrameSource:
    """The body of a response of HTTP/2. A short one has been read to its end."""
    source = FrameSource(upstream, attempt.location.read_timeout)
    if upstream.complete or 0 < attempt.response.content_length <= attempt.location.retry.response_size:
        source.gather()
    return source


def own(plane: DataPlane, exchange: Exchange, answer: Answer, close: bool = False) -> bool:
    """Send an answer of our own. close: True: end the connection with it. Returns True if the client's connection can carry another
    request. Raises `HttpError`."""
    head: RequestHead | None = exchange.head
    keep = head is not None and head.keep_alive and not (close or plane.draining or plane.crowded)
    keep = keep and not exchange.connection.listener.closed and _skip_body(exchange)
    exchange.status = answer.status
    length = len(answer.body)
    if exchange.grpc is not None:
        answer = spoken(exchange, answer)
        length = len(answer.body) or -1
    out, keep, _, _, _ = write_head(plane, exchange, OwnHead(answer.status, answer.headers, length), keep)
    body = b"" if exchange.method == b"HEAD" or answer.status in BODILESS else answer.body
    exchange.bytes_out += len(out) + len(body)
    if not keep:
        exchange.connection.lingering = True
    exchange.client.answer(out, body, exchange.rules().read_timeout, keep)
    return keep


def error(plane: DataPlane, exchange: Exchange, error: HttpError) -> bool:
    """Answer an error. Errors become answers only here. True if the client's connection can carry another request."""
    exchange.error = error.reason
    exchange.note(error.detail)
    plane.failures.note(exchange, error.status)
    if exchange.grpc is not None:
        exchange.grpc.fail(error.status, error.detail)
    if error.status == 499:
        exchange.status = 499
        return False
    if exchange.bytes_out and (exchange.status >= 200 or exchange.status == 101):
        if exchange.grpc is not None:
            break_off(exchange)
        else:
            exchange.client.abort()  # the answer was under way, so it can only be broken off
        return False
    exchange.status = error.status  # logged even if a defect in a hook prevents an answer
    answer = _asked(plane, exchange, error)
    if answer is None:
        accept = exchange.field(b"accept")
        fields, body = error_answer(error.status, error.proxy_status, error.detail, accept, exchange.request_id, error.retry_after)
        answer = Answer(error.status, fields + error.fields, body)
    try:
        return own(plane, exchange, answer, error.close)
    except HttpError:
        return False


def _asked(plane: DataPlane, exchange: Exchange, error: HttpError) -> Answer | None:
    """The answer of the hooks of `on_error`, None if there is none. A hook that fails does not keep the error from being answered."""
    for hook in exchange.rules().on_error:
        try:
            answer: Answer | None = hook(exchange, error)
        except Exception:
            plane.defect("a hook of on_error failed")
            continue
        if answer is not None:
            return answer
    return None


def _skip_body(exchange: Exchange) -> bool:
    """Skip a request body that was not read. True if all of it has arrived, so that the start of the next request is known."""
    if exchange.framed:  # frames say where a request ends
        return True
    unread, connection = exchange.unread, exchange.connection
    if not 0 <= unread <= len(connection.held):
        return False
    if unread:
        connection.held = connection.held[unread:]
        exchange.bytes_in += unread
        exchange.unread = 0
    return True
