"""The limits that one side of an HTTP/2 connection sets to the other."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a connection. Sizes are in octets.

    max_streams: requests that may be worked on at the same time (SETTINGS_MAX_CONCURRENT_STREAMS)
    header_list_size: of a list of fields, where each counts 32 more than its name and value (SETTINGS_MAX_HEADER_LIST_SIZE)
    header_size, header_count: of a request's head as HTTP/1.1 would write it, and of its fields
    head_octets: of the heads of all requests that are worked on, as `header_size` counts; a head alone may have more
    resets_per_second: streams that the peer may reset, or make us reset, in the long run
    window: that the peer may send on a stream before they are consumed (SETTINGS_INITIAL_WINDOW_SIZE)
    connection_window: that may be under way on a connection
    buffered_octets: of all streams together that may wait to be consumed. Beyond that the peer gets no window for the connection.
    max_frame: of the payload of a frame (SETTINGS_MAX_FRAME_SIZE)
    linger_octets: of a request body that are thrown away after the answer, before the stream is reset; linger_seconds: as long as that may
        last
    settings_seconds: within which the peer must acknowledge our settings
    """

    max_streams: int = 128
    header_list_size: int = 65536
    header_size: int = 32768
    header_count: int = 100
    head_octets: int = 1 << 18
    resets_per_second: float = 100.0
    window: int = 65535
    connection_window: int = 1 << 20
    buffered_octets: int = 4 << 20
    max_frame: int = 16384
    linger_octets: int = 1 << 20
    linger_seconds: float = 2.0
    settings_seconds: float = 10.0
