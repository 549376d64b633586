"""Shedding of load: what is refused while the worker is overloaded, and what is not."""

from __future__ import annotations

from .both import twice
from .lines import answered, asked, ok, refused, req
from .play import Scene, Step, after, b1, client, do, log, reload, row

GET = req("GET /a")
DENIED = "http_request_denied"
SHED = "middleware: [{shed: {loop_lag: 50ms}}]"


def lagging(intervals: int = 20) -> Step:
    """Every turn of the loop takes 9 s, for so many intervals. After 20 of them only one request in 20 is let in, first the 21st."""

    def judge(scene: Scene) -> None:
        (gate,) = scene.stage.plan.runtime.gates.by_lag.values()
        for _ in range(intervals):
            gate.judge(9.0)

    return do(judge, "the loop lags")


def served(n: int, line: str = "GET /a") -> tuple[Step, ...]:
    return (
        client >> req(line),
        b1 << asked(line, n=n),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
    )


test_shedding = twice(
    row(
        "a lag: a refusal, whose body is skipped; health is told; and all is served a few seconds after it",
        *served(1),
        lagging(),
        client >> req("POST /a", body="abc"),
        client << refused(503, DENIED, "Retry-After: 1", n=2),
        log(503, error=DENIED),
        *served(3, "GET /healthz"),
        *[after(1.0)] * 6,
        *served(4),
        *served(5),
        location=SHED,
        cut=False,
    ),
    row(
        "one interval: every other request",
        lagging(1),
        *served(1),
        client >> GET,
        client << refused(503, DENIED, "Retry-After: 1", n=2),
        log(503, error=DENIED),
        *served(3),
        client >> GET,
        client << refused(503, DENIED, "Retry-After: 1", n=4),
        log(503, error=DENIED),
        location=SHED,
        cut=False,
    ),
    row(
        "memory: this process has more than 1 MiB",
        client >> GET,
        client << refused(503, DENIED, "Retry-After: 7"),
        log(503, error=DENIED),
        *served(2, "GET /readyz"),
        location="middleware: [{shed: {memory: 1m, retry_after: 7s}}]",
    ),
    row(
        "it comes before authentication, and a location may do without it",
        lagging(),
        client >> GET,
        client << refused(503, DENIED, "Retry-After: 1"),
        log(503, error=DENIED),
        client >> req("GET /free"),
        client << answered("204 No Content", length=False),
        log(204),
        location="middleware: [{basic_auth: {users: {ann: '$apr1$x$x'}}}]",
        service=SHED,
        locations="- path: /free\n  respond: {status: 204}\n  middleware: [{shed: off}]",
        cut=False,
    ),
    row(
        "a reload lets in no more than before",
        lagging(),
        client >> GET,
        client << refused(503, DENIED, "Retry-After: 1"),
        log(503, error=DENIED),
        reload(location="middleware: [{shed: {loop_lag: 50ms, retry_after: 9s}}]"),
        client >> GET,
        client << refused(503, DENIED, "Retry-After: 9", n=2),
        log(503, error=DENIED),
        location=SHED,
        cut=False,
    ),
)
