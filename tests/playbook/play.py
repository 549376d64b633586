"""Rows of the playbook, and how they are played.

    row(
        "a request goes to the backend, and its answer back",
        client >> req("GET /a"),
        b1 << asked("GET /a"),
        b1 >> ok("one"),
        client << answered("200 OK", body="one"),
        log(200, b1),
    )

`party >> octets`: the party sends. `party << octets`: Terraster must send this to the party. `FIN` and `RST` are written like octets; a
connection whose end is not in the row stays open. The order counts: before anything else happens, the row must have said everything that
Terraster wrote. Time passes only in `after` and `skip`. `log` and `told` are in order, too; the expected counters follow from them, or are
given in `counts`.

Each row is played whole, with what parties send cut in the middle, octet by octet, and with the sockets polled in the opposite order. Then
all clients leave and time passes, and nothing may be left: no greenlet, watcher, timer, stream or gauge.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any

import pytest

from terraster.filters.contract import Filter
from terraster.state.cells import BackendCells

from .lines import Expected, Mismatch, text
from .stage import OTHER_SEAT, Stage, config
from .world import START, Connection

__all__ = [
    "FIN",
    "GONE",
    "Backend",
    "Octets",
    "RST",
    "Row",
    "Step",
    "admit",
    "after",
    "at_once",
    "b1",
    "b2",
    "b3",
    "client",
    "client2",
    "client3",
    "counts",
    "defect",
    "do",
    "drain",
    "elsewhere",
    "exhausted",
    "learnt",
    "log",
    "measured",
    "panic",
    "play",
    "reload",
    "row",
    "skip",
    "table",
    "told",
    "whole",
]


_LINE = 180  # characters of a line of the diary
_LONG = 15.0  # seconds


class _End:
    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


FIN = _End("FIN")
"""Nothing more is sent. From a party: it reads on."""
GONE = _End("GONE")
"""From a party: it has closed, and reads nothing more either."""
RST = _End("RST")


class whole:
    """Octets that are not to be cut."""

    def __init__(self, octets: bytes | str) -> None:
        self.octets = octets.encode("latin-1") if isinstance(octets, str) else octets


Octets = bytes | str | whole | _End


class Step:
    """One line of a row."""

    def play(self, scene: Scene) -> None:
        raise NotImplementedError


class Party:
    """Somebody with a connection to Terraster."""

    name: str

    def __rshift__(self, what: Octets) -> Step:
        return _Sends(self, what)

    def __lshift__(self, what: Octets | Expected) -> Step:
        return _Gets(self, what)

    def __repr__(self) -> str:
        return self.name

    def connection(self, scene: Scene) -> Connection:
        """Theirs; an AssertionError if there is none."""
        raise NotImplementedError

    def room(self, octets: int | None) -> Step:
        """From now on Terraster can write so many more octets to them; None: any number."""

        def change(scene: Scene) -> None:
            self.connection(scene).room = octets

        return do(change, f"{self} has room for {octets}")

    def got(self, octets: int) -> Step:
        """They were sent exactly so many octets, which are not looked at further."""
        return do(lambda scene: self._drop(scene, octets, exactly=True), f"{self} got {octets} octets", loose=True)

    def drop(self, octets: int) -> Step:
        """They were sent at least so many octets, which are not looked at further."""
        return do(lambda scene: self._drop(scene, octets, exactly=False), f"{self} got {octets} octets or more", loose=True)

    def _drop(self, scene: Scene, octets: int, exactly: bool) -> None:
        sent = self.connection(scene).sent
        assert len(sent) == octets if exactly else len(sent) >= octets, f"{self} got {len(sent)} octets, expected {octets}"
        sent.clear()

    def unread(self, octets: int) -> Step:
        """So many octets that they sent have not been read by Terraster."""

        def check(scene: Scene) -> None:
            left = len(self.connection(scene).inbox)
            assert left == octets, f"{left} octets of {self} have not been read, expected {octets}"

        return do(check, f"{self} has {octets} unread")

    def still_open(self) -> Step:
        """Terraster has not ended the connection, nor sent anything."""
        return do(lambda scene: None, f"{self} is still open")

    def is_closed(self) -> Step:
        """Terraster has closed its socket."""

        def check(scene: Scene) -> None:
            sockets = scene.stage.network.sockets.values()
            assert all(socket.connection is not self.connection(scene) for socket in sockets), f"{self} is still open"

        return do(check, f"{self} is closed")

    def ends(self) -> Step:
        """Terraster ends the connection (FIN), now or by the end of the row."""

        def allow(scene: Scene) -> None:
            self.connection(scene).may_end = True

        return do(allow, f"{self} will be ended", loose=True)

    def doom(self) -> Step:
        """What is written to them next is answered by a reset."""

        def change(scene: Scene) -> None:
            self.connection(scene).doomed = True

        return do(change, f"{self} will reset")


class Client(Party):
    """Connects with the first thing that it sends; ``b""`` is to connect alone."""

    def __init__(self, name: str, ip: str, listener: str = "127.0.0.1:80") -> None:
        self.name, self.ip, self.listener = name, ip, listener

    def at(self, listener: str, ip: str = "") -> Client:
        """The same one at another listener, or from another address."""
        return Client(self.name, ip or self.ip, listener)

    def connection(self, scene: Scene) -> Connection:
        if self.name not in scene.clients:
            connection = scene.clients[self.name] = Connection(self.name)
            scene.stage.accept(connection, self.ip, 40000 + len(scene.clients), self.listener)
            scene.stage.hub.settle()
        return scene.clients[self.name]


class Backend(Party):
    """One connection of a backend's, ``b1[2]`` the second one that was made to it."""

    def __init__(self, ip: str, name: str, number: int = 1) -> None:
        self.ip, self.short, self.number = ip, name, number
        self.name = f"{name}[{number}]"

    def __getitem__(self, number: int) -> Backend:
        return Backend(self.ip, self.short, number)

    def connection(self, scene: Scene) -> Connection:
        made = scene.hosts[self.ip].connections
        assert len(made) >= self.number, f"there is no connection {self.name}, only {len(made)}"
        connection: Connection = made[self.number - 1]
        return connection

    def breaks_when_written_to(self) -> Step:
        """It has ended their connection, and nobody knows until something is written."""

        def change(scene: Scene) -> None:
            self.connection(scene).broken = True

        return do(change, f"{self} breaks when it is written to")

    def accepts_while(self, send: Step) -> Step:
        """The connection to it that was made in silence stands at the very moment when somebody sends something."""
        assert isinstance(send, _Sends)

        def change(scene: Scene) -> None:
            scene.stage.network.establish(self.ip)
            send.deliver(scene, "whole")

        return do(change, f"{self.short} accepts while {send}")

    def refuses(self, how: str | int = errno.ECONNREFUSED) -> Step:
        """What becomes of the next attempt to connect that nothing is said of yet: an errno, "silence", "unreachable", "at once"."""
        return do(lambda scene: scene.hosts[self.ip].answers.append(how), f"{self.short} will say {how}")


client = Client("client", "192.0.2.7")
client2 = Client("client2", "192.0.2.8")
client3 = Client("client3", "192.0.2.9")
b1 = Backend("10.0.0.1", "b1")
b2 = Backend("10.0.0.2", "b2")
b3 = Backend("10.0.0.3", "b3")


class _Host:
    """A backend as the network sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections: list[Connection] = []
        self.answers: deque[Any] = deque()
        self.attempts = 0


class Scene:
    """A row while it is played. diary: what happened so far, for people."""

    def __init__(self, row: Row, cut: str) -> None:
        self.stage = Stage(row.config, cut == "backwards", row.filters)
        self.cut = cut
        self.hosts = {party.ip: _Host(party.short) for party in (b1, b2, b3)}
        self.stage.network.parties = dict(self.hosts)
        self.clients: dict[str, Connection] = {}
        self.diary: list[str] = []
        self.tried: dict[str, list[int]] = {}
        self.expected: dict[str, dict[str, int]] = {ip: {} for ip in self.hosts}
        self.overridden: dict[str, dict[str, int]] = {}
        self.failed: dict[str, int] = {}
        self.retries = 0

    def connections(self) -> list[Connection]:
        """All there ever were."""
        return [*self.clients.values(), *(one for host in self.hosts.values() for one in host.connections)]

    def note(self, what: str) -> None:
        what = what if len(what) <= _LINE else f"{what[:_LINE]}…"
        self.diary.append(f"  {self.stage.loop.now - START:8.3f}  {what}")

    def count(self, ip: str, name: str, more: int = 1) -> None:
        self.expected[ip][name] = self.expected[ip].get(name, 0) + more

    def nothing_unsaid(self) -> None:
        """All that Terraster wrote must have been looked at."""
        for connection in self.connections():
            if connection.sent:
                raise Mismatch(f"{connection.name} was sent what the row does not say: {bytes(connection.sent[:500])!r}")
            if connection.ended and not (connection.told or (connection.may_end and connection.ended == "FIN")):
                raise Mismatch(f"{connection.name} was ended by {connection.ended}, which the row does not say")


class _Sends(Step):
    def __init__(self, party: Party, what: Octets) -> None:
        self.party, self.what = party, what

    def __repr__(self) -> str:
        return f"{self.party} >> {self.what if isinstance(self.what, _End) else getattr(self.what, 'octets', self.what)!r}"

    def play(self, scene: Scene) -> None:
        scene.nothing_unsaid()
        self.deliver(scene, scene.cut, scene.stage.hub.settle)
        scene.stage.hub.settle()

    def deliver(self, scene: Scene, cut: str, between: Callable[[], None] = lambda: None) -> None:
        """Let it arrive, cut as asked, and do something after each piece."""
        connection = self.party.connection(scene)
        if isinstance(self.what, _End):
            {"FIN": connection.finish, "GONE": connection.leave, "RST": connection.break_off}[self.what.name]()
            return
        for piece in _pieces(self.what, cut):
            connection.deliver(piece)
            between()


def _pieces(what: bytes | str | whole, cut: str) -> list[bytes]:
    if isinstance(what, whole):
        return [what.octets]
    octets = what.encode("latin-1") if isinstance(what, str) else what
    if cut == "octets":
        return [octets[at : at + 1] for at in range(len(octets))]
    if cut == "halves":
        half = len(octets) // 2
        return [piece for piece in (octets[:half], octets[half:]) if piece]
    return [octets] if octets else []


class _Gets(Step):
    def __init__(self, party: Party, what: Octets | Expected) -> None:
        self.party = party
        self.what = text(what) if isinstance(what, (bytes, str)) else what

    def __repr__(self) -> str:
        return f"{self.party} << {self.what!r}"

    def play(self, scene: Scene) -> None:
        connection = self.party.connection(scene)
        if isinstance(self.what, Expected):
            taken = self.what.take(bytes(connection.sent), scene.stage)
            del connection.sent[:taken]
            return
        if connection.sent:
            raise Mismatch(f"octets came before the end: {bytes(connection.sent[:500])!r}")
        if connection.ended != self.what.name or connection.told:
            raise Mismatch(f"expected {self.what}, it was ended by {connection.ended or 'nothing'}")
        connection.told = True


class at_once(Step):
    """Several parties send at the same moment: Terraster finds all of it when its loop turns."""

    def __init__(self, *sends: Step) -> None:
        self.sends = [send for send in sends if isinstance(send, _Sends)]
        assert len(self.sends) == len(sends)

    def __repr__(self) -> str:
        return f"at once: {self.sends}"

    def play(self, scene: Scene) -> None:
        scene.nothing_unsaid()
        for send in self.sends:
            send.deliver(scene, "whole")
        scene.stage.hub.settle()


class do(Step):
    """Anything else. loose: also while there is something that has not been said."""

    def __init__(self, action: Callable[[Scene], None], what: str, loose: bool = False) -> None:
        self.action, self.what, self.loose = action, what, loose

    def __repr__(self) -> str:
        return self.what

    def play(self, scene: Scene) -> None:
        if not self.loose:
            scene.nothing_unsaid()
        self.action(scene)
        scene.stage.hub.settle()


def after(seconds: float) -> Step:
    """Let time pass. Of a long time only the last second is played sweep by sweep."""

    def wait(scene: Scene) -> None:
        hub, most = scene.stage.hub, max(0.0, seconds - 1)
        if most > _LONG:
            hub.jump(most)
        hub.advance(seconds - most if most > _LONG else seconds)

    return do(wait, f"after {seconds}")


def skip(seconds: float) -> Step:
    """Let a long time pass at once, as for a machine that slept."""
    return do(lambda scene: scene.stage.hub.jump(seconds), f"skip {seconds}")


def drain() -> Step:
    """The worker is told to end."""
    return do(lambda scene: scene.stage.drain(), "drain")


def reload(**keys: Any) -> Step:
    """The configuration changes: what `config` takes."""
    return do(lambda scene: scene.stage.reload(config(**keys)), f"reload {keys}")


def exhausted(times: int = 1) -> Step:
    """The process has no descriptor left for the next so many connections."""

    def change(scene: Scene) -> None:
        scene.stage.network.exhausted = times

    return do(change, "no descriptors")


def elsewhere(backend: Backend, cell: int, count: int) -> Step:
    """What another worker writes into a `SeatBackend` cell."""

    def change(scene: Scene) -> None:
        stage = scene.stage
        stage.q[stage.cell(backend.ip, cell, OTHER_SEAT)] = count

    return do(change, f"elsewhere {backend.short}: cell {cell} is {count}")


def admit(backend: Backend, admit: int, *, state: int = BackendCells.UP, trial_limit: int = 1) -> Step:
    """What the master says of a backend: a value of `BackendCells.ADMIT` and one of `BackendCells.STATE`."""

    def change(scene: Scene) -> None:
        scene.stage.admit(backend.ip, admit, state=state, trial_limit=trial_limit)

    return do(change, f"{backend.short} is {BackendCells.ADMITS[admit]}, {BackendCells.STATES[state]}")


def panic(on: bool) -> Step:
    """Too few backends are well, the master says, so that all are to be used; or no more."""
    return do(lambda scene: scene.stage.panic(on), f"panic: {on}")


def learnt(seconds: float) -> Step:
    """The first location has seen enough answers that took so long."""
    return do(lambda scene: scene.stage.learn(seconds), f"answers took {seconds} s")


class log(Step):
    """The next exchange that is over.

    tried: the backends that were asked, in order; the log names the last one. error: its RFC 9209 type. detail: a part of the detail.
    bytes_in, bytes_out, duration, upstream_time, client_ip and other attributes of the exchange: compared if given.
    """

    def __init__(
        self,
        status: int,
        *tried: Backend,
        error: str = "",
        bytes_in: int | None = None,
        bytes_out: int | None = None,
        duration: float | None = None,
        upstream_time: float | None = None,
        detail: str | None = None,
        client_ip: str | None = None,
        **more: Any,
    ) -> None:
        self.status, self.tried, self.error = status, tried, error
        self.numbers = {"bytes_in": bytes_in, "bytes_out": bytes_out, "duration": duration, "upstream_time": upstream_time}
        self.detail, self.client_ip, self.more = detail, client_ip, more

    def __repr__(self) -> str:
        return f"log {self.status} {list(self.tried)} {self.error} { {k: v for k, v in self.numbers.items() if v is not None} }"

    def play(self, scene: Scene) -> None:
        logged = scene.stage.logged
        if not logged:
            raise Mismatch("no exchange is over")
        exchange = logged.pop(0)
        backend = exchange.backend
        seen = (exchange.status, exchange.error, exchange.tries, backend.backend.host if backend is not None else "")
        expected = (self.status, self.error, len(self.tried), self.tried[-1].ip if self.tried else "")
        if seen != expected:
            raise Mismatch(f"logged {seen} ({exchange.detail}), expected {expected}")
        for name, value in self.numbers.items():
            if value is not None and abs(getattr(exchange, name) - value) > (0.0001 if isinstance(value, float) else 0):
                raise Mismatch(f"{name} is {getattr(exchange, name)}, expected {value}")
        if self.detail is not None and self.detail not in exchange.detail:
            raise Mismatch(f"the detail is {exchange.detail!r}, expected {self.detail!r} in it")
        if self.client_ip is not None and exchange.client_ip != self.client_ip:
            raise Mismatch(f"the client is {exchange.client_ip}")
        for name, value in self.more.items():
            if getattr(exchange, name) != value:
                raise Mismatch(f"{name} is {getattr(exchange, name)!r}, expected {value!r}")
        for number, party in enumerate(self.tried):
            scene.count(party.ip, "requests")
            if number:
                scene.count(party.ip, "retries")
                scene.retries += 1
        if self.tried and not self.error:
            scene.count(self.tried[-1].ip, "responses")


class told(Step):
    """What the master hears next of a backend: "connect", "failure", "status"; "good", "bad" for a trial of its circuit."""

    def __init__(self, backend: Backend, *kinds: str, status: int = 0) -> None:
        self.backend, self.kinds, self.status = backend, kinds, status

    def __repr__(self) -> str:
        return f"told of {self.backend.short}: {' '.join(self.kinds)} {self.status or ''}"

    def play(self, scene: Scene) -> None:
        for kind in self.kinds:
            expected = (self.backend.ip, kind, self.status)
            if not scene.stage.reports or scene.stage.reports[0] != expected:
                raise Mismatch(f"the master heard {scene.stage.reports}, expected {expected}")
            scene.stage.reports.pop(0)
            if kind in ("connect", "failure", "status"):
                scene.failed[self.backend.ip] = scene.failed.get(self.backend.ip, 0) + 1
            if kind in ("connect", "failure"):
                scene.count(self.backend.ip, "failures")
            if kind == "connect":
                scene.count(self.backend.ip, "connect_errors")
            if kind == "status":
                scene.count(self.backend.ip, "bad_statuses")


class counts(Step):
    """Counters of a backend, or of all locations (None), that are others than what follows from the log and from what was told.

    failed: attempts that the balancer hears failed.
    """

    def __init__(self, backend: Backend | None = None, **counters: int) -> None:
        self.backend, self.counters = backend, counters

    def __repr__(self) -> str:
        return f"counts {self.backend} {self.counters}"

    def play(self, scene: Scene) -> None:
        scene.overridden.setdefault(self.backend.ip if self.backend else "", {}).update(self.counters)


class measured(Step):
    """A balancer that measures hears next how long a backend took, in seconds."""

    def __init__(self, backend: Backend, seconds: float) -> None:
        self.expected = (backend.ip, seconds)

    def __repr__(self) -> str:
        return f"measured {self.expected}"

    def play(self, scene: Scene) -> None:
        heard = scene.stage.measured
        if not heard or heard[0] != self.expected:
            raise Mismatch(f"the balancer heard {heard}, expected {self.expected}")
        heard.pop(0)


class defect(Step):
    """A defect was told of, once. what: a piece of it."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __repr__(self) -> str:
        return f"defect {self.what}"

    def play(self, scene: Scene) -> None:
        defects = scene.stage.defects
        if not defects or self.what not in defects[0]:
            raise Mismatch(f"defects told of: {defects}, expected {self.what!r}")
        defects.pop(0)


class Row:
    """One dialogue. cut: also play it with what parties send cut into pieces. xfail: why it does not pass yet. filters: see `Stage`."""

    def __init__(
        self, name: str, steps: tuple[Step, ...], text: str, cut: bool, xfail: str, filters: tuple[type[Filter], ...]
    ) -> None:
        self.name, self.steps, self.config, self.cut, self.xfail, self.filters = name, steps, text, cut, xfail, filters

    def __repr__(self) -> str:
        return self.name


def row(
    name: str,
    *steps: Step,
    cut: bool = True,
    xfail: str = "",
    text: str = "",
    filters: tuple[type[Filter], ...] = (),
    **keys: Any,
) -> Row:
    """keys: what `stage.config` takes. text: the whole configuration in place of that."""
    return Row(name, steps, text or config(**keys), cut, xfail, filters)


def play(row: Row) -> None:
    """Play a row in every way. Raises `Mismatch`, an AssertionError, with what happened until then."""
    __tracebackhide__ = True
    for cut in ("whole", "halves", "octets", "backwards") if row.cut else ("whole", "backwards"):
        scene = Scene(row, cut)
        step: Step | None = None
        try:
            for step in row.steps:
                scene.note(repr(step))
                step.play(scene)
            step = None
            _end(scene)
        except AssertionError as error:
            waiting = scene.stage.loop.waiting()
            raised = "".join(f"\nraised into the loop: {one!r}" for one in scene.stage.loop.errors)
            scene.stage.hub.end()
            happened = "\n".join(scene.diary)
            where = f"({row.name}, {cut}{'' if step else ', in the end'}; {waiting})"
            raise Mismatch(f"{error}{raised}\n{where}\n{happened}") from None


def _end(scene: Scene) -> None:
    stage = scene.stage
    scene.nothing_unsaid()
    wrong = [f"logged, but not in the row: {one.status} {one.error} {one.detail}" for one in stage.logged]
    wrong += [f"the master heard, but it is not in the row: {one}" for one in stage.reports]
    wrong += [f"a defect: {one}" for one in stage.defects]
    wrong += [f"the balancer heard, but it is not in the row: {one}" for one in stage.measured]
    for ip, host in scene.hosts.items():
        if host.answers:
            wrong.append(f"{host.name} was not connected to: {list(host.answers)}")
        if host.attempts:
            scene.expected[ip]["connects"] = host.attempts
        expected = {**scene.expected[ip], **scene.overridden.get(ip, {}), "failed": 0}
        if any(backend.host == ip for backend in stage.backends(stage.snapshot)):
            counted, expected = stage.counted(ip), {name: count for name, count in expected.items() if count}
            if counted != expected:
                wrong.append(f"counted at {host.name}: {counted}, expected {expected}")
        attempts = [failed for one, failed in stage.over if one == ip]
        failed = scene.overridden.get(ip, {}).get("failed", scene.failed.get(ip, 0))
        if sum(attempts) != failed:
            wrong.append(f"the balancer heard of {sum(attempts)} failed attempts at {host.name}, expected {failed}")
    there = {"retries": scene.retries, **scene.overridden.get("", {})}
    there = {name: count for name, count in there.items() if count}
    if stage.counted_there() != there:
        wrong.append(f"counted at the locations: {stage.counted_there()}, expected {there}")
    silent = len(stage.logged)
    for connection in scene.clients.values():
        if not connection.finished and not connection.ended and not connection.reset:
            connection.leave()
    stage.hub.settle()
    wrong += [f"{one.name} has not been ended" for one in scene.connections() if one.may_end and not one.ended]
    wrong += stage.left_over()
    for ip, host in scene.hosts.items():
        begun = stage.ever_begun(ip)
        if begun is not None and begun != sum(one == ip for one, _ in stage.over):
            wrong.append(
                f"{begun} attempts at {host.name} began, the balancer heard the end of {sum(one == ip for one, _ in stage.over)}"
            )
    if len(stage.logged) != silent:
        wrong.append(f"an exchange was under way at the end: {stage.logged[-1].status} {stage.logged[-1].detail}")
    if len(scene.clients) == 1:
        (connection,) = scene.clients.values()
        logged, written = sum(one.bytes_out for one in stage.all_logged), connection.written
        # what did not fit into the socket of one who then left counts as written
        if (
            logged != written
            and not connection.framed
            and not connection.reset
            and not (connection.room is not None and logged > written)
        ):
            wrong.append(f"{written} octets were written to the client, {logged} are logged")
    assert not wrong, "\n".join(wrong)


def table(*rows: Row) -> Any:
    """A test of each row."""
    names = [row.name for row in rows]
    assert len(set(names)) == len(names), "two rows have one name"
    cases = [
        pytest.param(row, id=row.name, marks=[pytest.mark.xfail(strict=True, reason=row.xfail)] if row.xfail else [])
        for row in rows
    ]

    @pytest.mark.parametrize("row", cases)
    def test(row: Row) -> None:
        __tracebackhide__ = True
        play(row)

    return test
