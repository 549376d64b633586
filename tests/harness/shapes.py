"""The shapes of terrasterctl's JSON as JSON Schemas, and the laws that hold for all of it. docs/operations.md describes the same in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jsonschema

__all__ = ["SHAPES", "unlawful"]

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NONE: Schema = {"type": ["string", "null"]}
TRUTH: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
COUNT_OR_NONE: Schema = {"type": ["integer", "null"], "minimum": 0}
SPAN: Schema = {"type": "number", "minimum": 0}
SPAN_OR_NONE: Schema = {"type": ["number", "null"], "minimum": 0}
MOMENT: Schema = {"type": "number", "minimum": 1e9}
MOMENT_OR_NONE: Schema = {"type": ["number", "null"], "minimum": 1e9}
SHARE_OR_NONE: Schema = {"type": ["number", "null"], "minimum": 0, "maximum": 1}


def record(**keys: Schema) -> Schema:
    """An object with exactly these keys."""
    return {"type": "object", "properties": keys, "required": list(keys), "additionalProperties": False}


def several(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def by_name(value: Schema) -> Schema:
    """An object whose keys are names."""
    return {"type": "object", "additionalProperties": value}


def optional(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


COUNTS = by_name(COUNT)

ACTION = record(what=TEXT, when=MOMENT, by=TEXT, reason=TEXT, until=MOMENT_OR_NONE, weight=COUNT_OR_NONE)
OVERRIDES = {
    "order": optional(ACTION),
    "order_after": several(ACTION),
    "weight_override": optional(ACTION),
    "weight_after": several(ACTION),
    "forced": optional(ACTION),
    "forced_after": several(ACTION),
}
STATE = {"state": TEXT, "since": MOMENT_OR_NONE, "until": MOMENT_OR_NONE, "reason": TEXT, "by": TEXT}
COUNTED = {
    "active": COUNT,
    "open": COUNT,
    "idle": COUNT,
    "requests": COUNT,
    "failures": COUNT,
    "connect_errors": COUNT,
    "bad_statuses": COUNT,
    "responses": COUNTS,
    "circuit": TEXT,
    "circuit_openings": COUNT,
    "ejections": COUNT,
}
ACCOUNT = {
    "service": TEXT,
    "location": TEXT,
    "url": TEXT,
    "name": TEXT_OR_NONE,
    "id": TEXT,
    **STATE,
    "active": COUNT,
    "weight": COUNT_OR_NONE,
    "configured_weight": COUNT_OR_NONE,
    **OVERRIDES,
}
PROBE = record(when=MOMENT, ok=TRUTH, reason=TEXT, seconds=SPAN, status=COUNT_OR_NONE, answer=TEXT)
FAILURE = record(when=MOMENT, kind=TEXT, status=COUNT_OR_NONE, text=TEXT, seat=COUNT)
ENDPOINT = record(
    endpoint=TEXT_OR_NONE,
    address=TEXT_OR_NONE,
    **STATE,
    admit=TEXT,
    ramp={"type": "number", "minimum": 0, "maximum": 1},
    panic=TRUTH,
    **COUNTED,
    last_probes=several(PROBE),
    last_failures=several(FAILURE),
)
LEFT = record(
    requests=COUNT, tunnels=COUNT, connections=COUNT, attempts=COUNT, seconds=SPAN, sessions=TRUTH, safe=TRUTH, words=TEXT
)
BACKEND = {
    "url": TEXT,
    "name": TEXT_OR_NONE,
    "endpoint": TEXT_OR_NONE,
    "address": TEXT_OR_NONE,
    "up": TRUTH,
    "admit": TEXT,
    **STATE,
    **OVERRIDES,
    **COUNTED,
    "tunnels": COUNT,
    "left": optional(LEFT),
    "weight": COUNT,
    "configured_weight": COUNT,
    "priority": COUNT,
    "max_connections": COUNT,
    "keepalive": SPAN_OR_NONE,
    "share": SHARE_OR_NONE,
    "retries": COUNT,
    "recent_responses": optional(record(**{"seconds": SPAN, "attempts": COUNT, "5xx": COUNT})),
    "recent_attempts": COUNT,
    "recent_failures": COUNT,
    "recent_seconds": SPAN_OR_NONE,
    "recent_failure": TEXT,
    "recent_failure_at": MOMENT_OR_NONE,
    "shown_certificate": TEXT,
    "not_ejected": TEXT,
    "latency": SPAN_OR_NONE,
    "recent_latency": SPAN_OR_NONE,
    "probes": COUNT,
    "probe_failures": COUNT,
    "probe_seconds": SPAN_OR_NONE,
}
LOCATION = record(
    path=TEXT,
    arm=optional(record(weight=COUNT, fallback=TRUTH)),
    split={"anyOf": [by_name(COUNT), {"type": "null"}]},
    policy=TEXT_OR_NONE,
    redirect=TEXT_OR_NONE,
    requests=COUNT,
    responses=COUNTS,
    bytes_in=COUNT,
    bytes_out=COUNT,
    mean_duration=SPAN_OR_NONE,
    durations=optional(several(COUNT)),
    panic=TRUTH,
    queue=COUNT_OR_NONE,
    queued=COUNT,
    queue_refused=COUNT,
    queue_timeouts=COUNT,
    retries=COUNT,
    hedges=COUNT,
    retry_budget_refusals=COUNT,
    slow_clients=COUNT,
    filters=by_name(by_name(SPAN)),
    backends=several(record(**BACKEND)),
)
PROBLEM = record(
    kind=TEXT,
    text=TEXT,
    service=TEXT_OR_NONE,
    location=TEXT_OR_NONE,
    backend=TEXT_OR_NONE,
    backend_name=TEXT_OR_NONE,
    since=MOMENT_OR_NONE,
    until=MOMENT_OR_NONE,
    locations=COUNT_OR_NONE,
)
MASTER = record(pid=COUNT, serving=COUNT, draining=COUNT, connections=COUNT)
WORKER = record(
    seat=COUNT,
    role=TEXT,
    pid=COUNT,
    master=COUNT,
    state=TEXT,
    generation=COUNT,
    oldest_generation=COUNT,
    old_generations=several(record(generation=COUNT, connections=COUNT)),
    age=SPAN_OR_NONE,
    silent=SPAN,
    lag=SPAN_OR_NONE,
    responding=TRUTH,
    connections=COUNT,
    accepted=COUNT,
    requests=COUNT,
    draining=TRUTH,
    accept_errors=COUNT,
    idle_clients_ended=COUNT,
    short=SPAN_OR_NONE,
    full=SPAN,
    full_why=TEXT_OR_NONE,
)
OUTCOME = record(
    ok=TRUTH,
    generation=COUNT,
    changes=several(TEXT),
    problems=several(TEXT),
    notes=several(TEXT),
    kept=several(TEXT),
    replaced=several(COUNT),
    seconds=SPAN,
    when=MOMENT,
)
TOUCHED = record(service=TEXT, location=TEXT, url=TEXT, active=COUNT, open=COUNT, requests_per_second=SPAN)
TOLD = record(value={}, words=TEXT, origin=TEXT, place=TEXT)
DIFFERENT = record(service=TEXT, location=TEXT, key=TEXT, old=TOLD, new=TOLD)
NAME = record(
    endpoints=several(TEXT), since=MOMENT_OR_NONE, asked=MOMENT_OR_NONE, ttl=SPAN, failure=TEXT, failing_since=MOMENT_OR_NONE
)
CERTIFICATE = record(
    name=TEXT,
    service=TEXT,
    file=TEXT,
    names=several(TEXT),
    issuer=TEXT,
    kind=TEXT,
    not_before=MOMENT,
    expires=MOMENT,
    days_left=SPAN,
    state=TEXT,
    fingerprint=TEXT,
    problem=TEXT,
    ocsp=TEXT,
    ocsp_until=MOMENT_OR_NONE,
    ocsp_problem=TEXT,
    must_staple=TRUTH,
)
ORDER = record(
    service=TEXT,
    names=several(TEXT),
    authority=TEXT,
    challenge=TEXT,
    state=TEXT,
    failures=COUNT,
    last_error=TEXT,
    next=MOMENT_OR_NONE,
)
MIRROR = record(
    service=TEXT,
    location=TEXT,
    entries=several(record(name=optional(TEXT), to=several(TEXT), percent=SPAN, compare=several(TEXT))),
    counters=COUNTS,
    mean_seconds=optional(record(original=SPAN, copy=SPAN)),
)
DIFFERENCE = record(
    when=MOMENT,
    worker=COUNT,
    request_id=TEXT,
    method=TEXT,
    path=TEXT,
    service=TEXT,
    location=TEXT,
    to=TEXT,
    differs={
        "type": "object",
        "properties": {
            "status": several(COUNT),
            "headers": several(record(name=TEXT, original=optional(TEXT), copy=optional(TEXT))),
            "body": several(record(octets=COUNT, more=TRUTH, sha256=TEXT)),
            "latency": several(SPAN),
        },
        "additionalProperties": False,
    },
)
PLUGIN = record(
    name=TEXT,
    state=TEXT,
    origin=TEXT,
    file=TEXT,
    version=TEXT,
    problem=TEXT,
    hooks=several(TEXT),
    priority={"type": "integer"},
    services=several(TEXT),
    calls=COUNT,
    seconds=SPAN,
    mean_seconds=SPAN_OR_NONE,
    answers=COUNT,
    exceptions=COUNT,
    timeouts=COUNT,
    skipped=COUNT,
    quarantines=COUNT,
    quarantined_workers=COUNT,
    deaths=COUNT,
    counters=COUNTS,
)
EDIT = record(
    number=COUNT,
    kind=TEXT,
    service=TEXT,
    location=TEXT,
    url=TEXT,
    value={"type": "object"},
    by=TEXT,
    reason=TEXT,
    when=MOMENT,
    until=MOMENT_OR_NONE,
    words=TEXT,
    dormant=TEXT,
)
STATUS = record(
    ok=TRUTH,
    problems=several(PROBLEM),
    version=TEXT,
    rooms=record(compiled=several(TEXT), pure=several(TEXT), off=TRUTH, unfit=several(TEXT), changed=several(TEXT), reason=TEXT),
    pid=COUNT,
    started=MOMENT,
    now=MOMENT,
    generation=COUNT,
    duration_bounds=several(SPAN),
    upgrade=optional(record(old=MASTER, new=MASTER)),
    listeners=several(TEXT),
    wanted_workers=COUNT,
    restarts=COUNT,
    reloads=COUNT,
    reload_failures=COUNT,
    last_reload=optional(OUTCOME),
    workers=several(WORKER),
    saturation=record(
        descriptors=several(record(process=TEXT, pid=COUNT, open=COUNT, limit=COUNT_OR_NONE)),
        accept_errors=COUNT,
        idle_clients_ended=COUNT,
        log_lines_lost=COUNT,
        queued=COUNT,
    ),
    services=several(
        record(name=TEXT, hosts=several(TEXT), listeners=several(TEXT), maintenance=optional(ACTION), locations=several(LOCATION))
    ),
    unrouted=record(requests=COUNT, responses=COUNTS, codes=COUNTS, bytes_in=COUNT, bytes_out=COUNT),
    lost_lines=record(access=COUNT, program=COUNT, last=MOMENT_OR_NONE, reason=TEXT),
    log_level=record(level=TEXT, order=optional(ACTION)),
    orphans=several(record(id=TEXT, service=TEXT, location=TEXT, backend=TEXT, gone=MOMENT, **OVERRIDES)),
    names=by_name(NAME),
    certificates=several(CERTIFICATE),
    certificate_orders=several(ORDER),
    plugins=several(PLUGIN),
    edits=several(EDIT),
    warnings=several(TEXT),
)

CANDIDATE = record(url=TEXT, state=TEXT, weight=COUNT, active=COUNT, takes=TRUTH, picked=TRUTH, note=TEXT)
COURSE = record(
    listener=TEXT,
    status=COUNT_OR_NONE,
    reason=TEXT,
    service=TEXT,
    service_place=TEXT,
    host=TEXT,
    location=TEXT,
    place=TEXT,
    algorithm=TEXT,
    manner=TEXT,
    near=several(record(text=TEXT, place=TEXT)),
    open=several(TEXT),
    decisions=several(record(kind=TEXT, text=TEXT, final=TRUTH, place=TEXT)),
    candidates=several(CANDIDATE),
    head=TEXT,
)

AUDIT_ROW = record(
    seq=COUNT,
    when=MOMENT,
    **dict.fromkeys(("user", "role", "how", "address", "action", "target", "reason", "outcome", "detail", "request_id"), TEXT),
    before={},
    after={},
    generation=COUNT_OR_NONE,
    prev=TEXT,
    hash=TEXT,
)

USER = record(
    name=TEXT,
    role=TEXT,
    disabled=TRUTH,
    created=MOMENT,
    changed=MOMENT,
    expires=MOMENT_OR_NONE,
    expired=TRUTH,
    locked=SPAN,
    sessions=COUNT,
    tokens=COUNT,
)
SESSION = record(id=TEXT, kind=TEXT, created=MOMENT, refreshed=MOMENT, expires=MOMENT, address=TEXT, agent=TEXT)
EVENT = record(when=MOMENT, kind=TEXT, target=TEXT, text=TEXT, generation=COUNT_OR_NONE, answer=TEXT)
DAY = record(
    attempts=COUNT,
    failures=COUNT,
    errors=COUNT,
    minutes=several(record(when=MOMENT, attempts=COUNT, failures=COUNT, errors=COUNT)),
    changes=several(record(when=MOMENT, text=TEXT, answer=TEXT)),
)

EXPLAINED = record(**ACCOUNT, day=optional(DAY), history=several(ACTION), endpoints=several(ENDPOINT))

SHAPES: dict[str, Schema] = {
    "user": record(ok=TRUTH, user=optional(USER), password=TEXT_OR_NONE),
    "user list": record(ok=TRUTH, now=MOMENT, users=several(USER)),
    "user sessions": record(ok=TRUTH, now=MOMENT, sessions=several(SESSION)),
    "events": record(ok=TRUTH, now=MOMENT, events=several(EVENT)),
    "doctor": record(
        ok=TRUTH, now=MOMENT, running=TRUTH, findings=several(record(check=TEXT, severity=TEXT, what=TEXT, reason=TEXT, do=TEXT))
    ),
    "explain": record(
        ok=TRUTH,
        now=MOMENT,
        generation=COUNT,
        request=TEXT,
        port=COUNT,
        stale=several(TEXT),
        lines=TRUTH,
        edits=several(EDIT),
        courses=several(COURSE),
    ),
    "audit": record(ok=TRUTH, now=MOMENT, rows=several(AUDIT_ROW), cursor=COUNT_OR_NONE),
    "audit verify": record(ok=TRUTH, rows=COUNT, last=COUNT, hash=TEXT),
    "status": STATUS,
    "reload": {**OUTCOME, "properties": {**OUTCOME["properties"], "dry_run": TRUTH, "touches": several(TOUCHED)}},
    "diff": record(ok=TRUTH, generation=COUNT, differences=several(DIFFERENT)),
    "backend": record(ok=TRUTH, changed=TRUTH, backend=record(**ACCOUNT), notes=several(TEXT), etag=TEXT),
    "limits show": record(
        ok=TRUTH,
        service=TEXT,
        path=TEXT,
        limits=several(
            record(
                kind=TEXT,
                name=TEXT,
                key=TEXT,
                most=COUNT,
                clients=several(record(client=TEXT, id=TEXT, used=SPAN, share=SPAN, seconds=SPAN_OR_NONE)),
            )
        ),
    ),
    "limits reset": record(ok=TRUTH, name=TEXT, id=TEXT, before=SPAN, after=SPAN, changed=TRUTH, dry_run=TRUTH),
    "log-level": record(ok=TRUTH, level=TEXT, order=optional(ACTION), changed=TRUTH),
    "probe": record(
        ok=TRUTH,
        service=TEXT,
        location=TEXT,
        url=TEXT,
        type=TEXT,
        probes=several(
            record(
                endpoint=TEXT_OR_NONE, address=TEXT_OR_NONE, ok=TRUTH, reason=TEXT, seconds=SPAN, status=COUNT_OR_NONE, answer=TEXT
            )
        ),
    ),
    "drain": record(
        ok=TRUTH,
        host=TEXT,
        dry_run=TRUTH,
        changed=COUNT,
        safe=TRUTH,
        notes=several(TEXT),
        backends=several(
            record(
                service=TEXT,
                location=TEXT,
                url=TEXT,
                name=TEXT_OR_NONE,
                state=TEXT,
                since=MOMENT_OR_NONE,
                changed=TRUTH,
                order=optional(ACTION),
                active=COUNT,
                tunnels=COUNT,
                open=COUNT,
                requests_per_second=SPAN,
                left=optional(LEFT),
            )
        ),
    ),
    "list": record(ok=TRUTH, now=MOMENT, backends=several(record(service=TEXT, location=TEXT, **BACKEND))),
    "certificates": record(ok=TRUTH, now=MOMENT, certificates=several(CERTIFICATE), certificate_orders=several(ORDER)),
    "plugins": record(ok=TRUTH, now=MOMENT, plugins=several(PLUGIN)),
    "slo": record(
        ok=TRUTH,
        now=MOMENT,
        objectives=several(
            record(
                service=TEXT,
                location=TEXT,
                objective=TEXT,
                text=TEXT,
                percent=SPAN,
                bound=SPAN_OR_NONE,
                window=SPAN,
                since=MOMENT_OR_NONE,
                requests=COUNT,
                bad=COUNT,
                budget_left=SPAN,
                budget_spent=SPAN,
                burn_rates={"type": "object", "additionalProperties": SPAN},
                burning=optional(
                    record(severity=TEXT, short=TEXT, long=TEXT, factor=SPAN, rate=SPAN, gone_in=SPAN_OR_NONE, text=TEXT)
                ),
            )
        ),
    ),
    "mirror": record(ok=TRUTH, now=MOMENT, mirrors=several(MIRROR), differences=several(DIFFERENCE)),
    "why": record(
        ok=TRUTH,
        now=MOMENT,
        backends=several(EXPLAINED),
    ),
    "stop": record(ok=TRUTH, pid=COUNT_OR_NONE),
    "refusal": record(ok=TRUTH, problems=several(TEXT), candidates=several(TEXT)),
}
"""By command; "refusal": of every command that fails, except a reload that the configuration does not allow."""

OLD = {"why": "reason", "failed": "failures", "error": "problems"}
"""Other names of the same things, which no document uses."""


def unlawful(shape: str, document: Any) -> list[str]:
    """The breaches of a shape, and of the laws: no other names for the same things, no number below 0 in place of null."""
    errors = jsonschema.Draft202012Validator(SHAPES[shape]).iter_errors(document)
    wrong = [f"{error.json_path}: {error.message}" for error in errors]
    for place, key, value in _walk(shape, document):
        if key in OLD:
            wrong.append(f"{place}: call it {OLD[key]}")
        if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
            wrong.append(f"{place} is {value}: unknown is null")
    return wrong


def _walk(place: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    """(place, key, value) of everything below an object."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield f"{place}.{key}", key, inner
            yield from _walk(f"{place}.{key}", inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(f"{place}[]", inner)
