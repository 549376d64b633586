"""The status as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..call import Answer, Call, Role
from ..deps import Deps
from ..operation import Operation
from ..problem import Refused

__all__ = ["operations"]


def operations(deps: Deps) -> tuple[Operation, ...]:
    def stream(call: Call) -> Answer:
        if deps.live.is_full:
            raise Refused(503, "too many viewers at once; try again later", headers=[("Retry-After", "10")])
        return Answer(pieces=_frames(deps, call), type="text/event-stream")

    return (
        Operation(
            method="GET",
            path="/api/stream",
            id="streamStatus",
            tag="status",
            summary="The status every two seconds, as server-sent events",
            detail="Events: first `caller` with the name and the role of who asks, then `status` with the document of `/api/status`, "
            "`failure` with a reason, and `ended` when the login is over or Terraster stops.",
            handle=stream,
            role=Role.READER,
            media="text/event-stream",
            refuses=(503,),
        ),
    )


def _frames(deps: Deps, call: Call) -> Iterator[bytes]:
    assert call.caller is not None
    caller = {"name": call.caller.name, "role": call.caller.role.word}
    yield b"event: caller\ndata: " + json.dumps(caller).encode() + b"\n\n"
    yield from deps.live.frames(call.still)
