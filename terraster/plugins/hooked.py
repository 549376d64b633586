"""One plugin with its settings, as a worker has it: calls its hooks under a guard, counts its faults, and keeps it in quarantine."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit

from ..config.settings.plugins import PluginUse
from ..config.snapshot import Plugin
from ..errors import US, HttpError
from ..exchange import Exchange
from ..filters.answer import Answer
from ..state.cells import SeatPlugin
from ..wire.edits import Edits
from ..wire.http1 import ResponseHead
from .bodies import ShapedBody, may_shape, octets_of
from .faults import said
from .guard import GRACE, Overrun
from .loading import arose_in, place_of
from .views import ErrorView, Kept, LogView, Request, Response, Upstream, answer_of

if TYPE_CHECKING:
    from .host import Code, Host

__all__ = ["QUARANTINE", "Bound"]

QUARANTINE = 30.0
"""Seconds until a plugin in quarantine is tried again. After each trial that fails they are doubled, up to 16 times as many."""

_DOUBLINGS = 4
_STALLS = 10.0
"""Seconds within which ``faults`` hooks that had to be cut off while they ran put a plugin into quarantine, in a row or not: all other
requests of the worker waited for them."""

_QUIET = 1.0  # seconds between two lines about faults of one plugin
_LATE = GRACE + 0.05  # seconds after its time within which a hook counts as over in time


class Bound:
    """One plugin with its settings (`terraster.filters.runtime.Hooked`). Faults are counted here."""

    __slots__ = (
        "_body",
        "_code",
        "_error",
        "_held",
        "_host",
        "_instance",
        "_log",
        "_quiet_until",
        "_request",
        "_response",
        "_response_body",
        "_rows",
        "_stalls",
        "_trials",
        "_unsaid",
        "_until",
        "_upstream",
        "use",
    )

    def __init__(self, host: Host, use: PluginUse) -> None:
        self.use = use
        self._host = host
        self._rows: dict[str, int] = {}  # faults in a row, by hook
        self._stalls: list[float] = []  # when hooks were cut off while they ran
        self._trials = 0  # trials that failed in a row
        self._held = False  # True: in quarantine because workers died in it
        self._until = 0.0  # the monotonic time at which quarantine is over, 0: the plugin is not in it
        self._quiet_until = 0.0
        self._unsaid = 0
        self._code: Code | None = None
        self._instance: Any = None
        self._forget_hooks()

    def _forget_hooks(self) -> None:
        self._request: Any = None
        self._upstream: Any = None
        self._response: Any = None
        self._error: Any = None
        self._log: Any = None
        self._body: Any = None
        self._response_body: Any = None

    @property
    def works(self) -> bool:
        """True if it has been set up."""
        return self._instance is not None

    @property
    def code(self) -> Code | None:
        """The code that is in use."""
        return self._code

    def hold(self, plugin: Plugin, until: float) -> None:
        """Do not call the plugin until then (time.monotonic()), because workers died in it."""
        if not self._until:
            self._host.add(plugin, SeatPlugin.QUARANTINES)
        self._held, self._until = True, until
        self._host.put(plugin, SeatPlugin.QUARANTINED, 1)

    def take(self, code: Code | None) -> None:
        """Use this version of the code from now on. If it cannot be set up, the one before stays in use."""
        if code is None:
            self._code = None
            self._instance = None
            self._forget_hooks()
            return
        try:
            made = self._host.instance(code, self.use)
        except BaseException as error:
            stays = self._instance is not None
            what = "the version that was loaded before stays in use" if stays else "it is not called"
            self._host.log.error("plugin %s: setup failed: %s; %s", self.use.name, said(error, code.plugin.file), what)
            self._host.put(code.plugin, SeatPlugin.NOT_SET_UP, 1)
            if not stays:
                self._code = code
                self._quarantine(code.plugin)
            return
        self._host.put(code.plugin, SeatPlugin.NOT_SET_UP, 0)
        self._code, self._instance = code, made
        self._request, self._upstream, self._response, self._error, self._log, self._body, self._response_body = (
            getattr(made, code.hooks[hook]) if hook in code.hooks else None
            for hook in ("on_request", "on_upstream", "on_response", "on_error", "on_log", "on_request_body", "on_response_body")
        )
        self._rows.clear()
        if self._until:
            self._release()

    # The hooks.

    def on_request(self, exchange: Exchange) -> Answer | None:
        if not self._is_ready(exchange):
            return None
        answer = None
        if self._request is not None:
            answer = self._answer(exchange, "on_request", self._request, Request(exchange, self._kept(exchange)))
        if answer is None and self._body is not None:
            answer = self._with_body(exchange)
        return answer

    def on_upstream(self, exchange: Exchange, edits: Edits) -> None:
        if not self._is_ready(exchange):
            return
        if self._response_body is not None:
            for name in (b"Accept-Encoding", b"Range", b"If-Range"):  # what comes back must be whole and plain
                edits.remove(name)
        kept = self._kept(exchange)
        if kept.body is not None:  # the client was told to send the body, and has
            edits.remove(b"Expect")
        for how, name, value in kept.edits:
            if how == "set":
                edits.set(name, value)
            elif how == "add":
                edits.add(name, value)
            else:
                edits.remove(name)
        if self._upstream is not None:
            self._call(exchange, "on_upstream", self._upstream, Request(exchange, kept), Upstream(exchange, edits))

    def on_response(self, exchange: Exchange, edits: Edits) -> None:
        if edits.status < 200 or not self._is_ready(exchange, edits.own):
            return
        kept = self._kept(exchange)
        if self._response is not None:
            request = Request(exchange, kept)
            answer = self._answer(exchange, "on_response", self._response, request, Response(edits), own=edits.own)
            if answer is not None and not edits.own:
                kept.answer = answer
                raise HttpError(
                    f"the plugin {self.use.name} answered", status=answer.status, reason="http_request_denied", blame=US
                )
        if self._response_body is not None and not edits.own and isinstance(edits.head, ResponseHead):
            self._shape(exchange, kept, edits, edits.head)

    def on_error(self, exchange: Exchange, error: HttpError) -> Answer | None:
        kept = self._kept(exchange)
        if kept.answer is not None:
            answer, kept.answer = kept.answer, None
            return answer
        if self._error is None or not self._is_ready(exchange, True):
            return None
        return self._answer(exchange, "on_error", self._error, Request(exchange, kept), ErrorView(error), own=True)

    def on_log(self, exchange: Exchange) -> None:
        if self._log is not None and self._is_ready(exchange, True):
            self._call(exchange, "on_log", self._log, Request(exchange, self._kept(exchange)), LogView(exchange), own=True)

    # Bodies.

    def _with_body(self, exchange: Exchange) -> Answer | None:
        head = exchange.head
        if head is None or head.upgrade is not None or head.protocol is not None or exchange.grpc is not None:
            return None
        most = self.use.request_body
        kept = self._kept(exchange)
        kept.body = self._host.bodies.read(exchange, most)
        if kept.body is None:
            raise HttpError(
                f"the body is larger than the plugin {self.use.name} takes", status=413, reason="http_request_error", close=True
            )
        return self._answer(exchange, "on_request_body", self._body, Request(exchange, kept), kept.body)

    def _shape(self, exchange: Exchange, kept: Kept, edits: Edits, head: ResponseHead) -> None:
        """Have the body of a response go through the plugin."""
        if head.no_body or edits.status in (204, 205, 304) or exchange.grpc is not None:
            return
        if not may_shape(edits, self.use.response_body):
            raise HttpError(
                f"the response cannot pass the plugin {self.use.name}: it is too large, encoded, or a part", status=502, blame=US
            )
        for name in (b"Accept-Ranges", b"ETag", b"Content-MD5", b"Digest", b"Content-Digest", b"Repr-Digest"):
            edits.remove(name)
        edits.transform = ShapedBody(edits.transform, self.use.response_body, self._shaped, (exchange, kept, edits))

    def _shaped(self, body: bytes, about: tuple[Exchange, Kept, Edits]) -> bytes:
        """The body in place of another one."""
        exchange, kept, edits = about
        made = self._call(
            exchange, "on_response_body", self._response_body, Request(exchange, kept), Response(edits), body, check=octets_of
        )
        return body if made is None else bytes(made)

    # Calling.

    def _kept(self, exchange: Exchange) -> Kept:
        facts = exchange.facts
        if facts is None:
            facts = exchange.facts = {}
        kept: Kept | None = facts.get(self.use.name)
        if kept is None:
            kept = facts[self.use.name] = Kept()
        return kept

    def _answer(self, exchange: Exchange, hook: str, function: Any, *arguments: Any, own: bool = False) -> Answer | None:
        answer: Answer | None = self._call(exchange, hook, function, *arguments, own=own, check=answer_of)
        if answer is not None and self._code is not None:
            self._host.add(self._code.plugin, SeatPlugin.ANSWERS)
        return answer

    def _call(
        self,
        exchange: Exchange,
        hook: str,
        function: Any,
        *arguments: Any,
        own: bool = False,
        check: Callable[[Any], Any] | None = None,
    ) -> Any:
        """The value that a hook returns; None if it failed and the request goes on.

        own: True: the answer is under way, so a fault changes nothing.
        Raises `HttpError` for a fault that ends the request."""
        code = self._code
        assert code is not None
        host, plugin, limit = self._host, code.plugin, self.use.timeout
        began = monotonic()
        try:
            if check is None:
                found = host.call(plugin, hook, limit, function, *arguments)
            else:
                found = host.call(plugin, hook, limit, _checked, check, function, *arguments)
        except HttpError:  # the client has left meanwhile, say
            raise
        except Overrun as error:
            return self._fault(
                SeatPlugin.TIMEOUTS, hook, exchange, own, f"took longer than {limit * 1000:g} ms and was cut off", error
            )
        except BaseException as error:  # SystemExit, CancelledError of asyncio, and what extensions raise, too
            if isinstance(error, GreenletExit) and not arose_in(error, plugin.file):
                raise  # this greenlet is ended, because the worker leaves, say
            return self._fault(SeatPlugin.EXCEPTIONS, hook, exchange, own, said(error, ""), error)
        took = monotonic() - began
        host.called(plugin, took)
        if took > limit + _LATE:
            self._note_late(hook, exchange, took)
            return found
        if self._rows:
            self._rows.pop(hook, None)
        if self._until:
            self._release()
        return found

    def _is_ready(self, exchange: Exchange, own: bool = False) -> bool:
        """True if the plugin may be called: it has been set up, and is not in quarantine, or this call is to try it again. Raises `HttpError`
        if it may not, and requests must not go on without it."""
        if self._instance is not None and not self._until:
            return True
        if self._may_try(self._code):
            return True
        self._skip(self._code, exchange, own)
        return False

    def _note_late(self, hook: str, exchange: Exchange, took: float) -> None:
        """A hook was not cut off in time, because it was in a call that no signal interrupts. Its answer counts, and so does the fault."""
        words = f"took {took * 1000:.0f} ms, and could not be cut off"
        self._fault(SeatPlugin.TIMEOUTS, hook, exchange, True, words, None, counted=True)

    def _may_try(self, code: Code | None) -> bool:
        """True if the time of quarantine is over, so that this call tries the plugin again."""
        if code is None or monotonic() < self._until:
            return False
        self._until = monotonic() + self._period()  # others wait for what becomes of this call
        if self._instance is None:
            self.take(code)
        return self._instance is not None

    def _skip(self, code: Code | None, exchange: Exchange, own: bool) -> None:
        plugin = self._host.plugin(self.use.name) if code is None else code.plugin
        if plugin is not None:
            self._host.add(plugin, SeatPlugin.SKIPPED)
        if own or self.use.on_error == "pass":
            return
        what = "is in quarantine" if self._held or (code is not None and self._instance is not None) else "could not be loaded"
        wait = max(1, int(self._until - monotonic()) + 1)
        raise HttpError(f"the plugin {self.use.name} {what}", status=503, blame=US, retry_after=wait)

    def _fault(
        self, kind: int, hook: str, exchange: Exchange, own: bool, words: str, error: BaseException | None, *, counted: bool = False
    ) -> None:
        code = self._code
        assert code is not None
        plugin, host = code.plugin, self._host
        host.add(plugin, kind)
        if not counted:
            host.add(plugin, SeatPlugin.CALLS)
        row = self._rows[hook] = self._rows.get(hook, 0) + 1
        line = place_of(error, plugin.file) if error is not None else 0
        place = f" at {plugin.file}:{line}" if line else ""
        exchange.note(f"plugin {self.use.name}: {hook} {words}")
        now = monotonic()
        if (
            row >= self.use.faults
            or self._until
            or self._has_stalled(counted or (isinstance(error, Overrun) and error.running), now)
        ):
            host.log.error("plugin %s: %s %s%s (request %s)", self.use.name, hook, words, place, exchange.request_id.decode())
            stalls = f"{self.use.faults} hooks that were cut off within {_STALLS:g} s"
            why = f"{row} faults in a row" if row >= self.use.faults else "another fault" if self._until else stalls
            self._quarantine(plugin)
            host.log.error(
                "plugin %s: in quarantine for %g s after %s; requests %s meanwhile",
                self.use.name,
                self._period(),
                why,
                "go on without it" if self.use.on_error == "pass" else "are answered with 503",
            )
        elif now >= self._quiet_until:
            more = f"; {self._unsaid} more faults before" if self._unsaid else ""
            self._quiet_until, self._unsaid = now + _QUIET, 0
            host.log.warning(
                "plugin %s: %s %s%s (request %s)%s", self.use.name, hook, words, place, exchange.request_id.decode(), more
            )
        else:
            self._unsaid += 1
        if own or self.use.on_error == "pass":
            return
        raise HttpError(f"the plugin {self.use.name} failed", status=500, blame=US) from None

    def _has_stalled(self, stalled: bool, now: float) -> bool:
        """True if this fault is one too many of those for which other requests waited. stalled: they waited for this one"""
        if not stalled:
            return False
        self._stalls = [*self._stalls[1 - self.use.faults :], now] if self.use.faults > 1 else [now]
        return len(self._stalls) >= self.use.faults and now - self._stalls[0] < _STALLS

    def _period(self) -> float:
        """Seconds of this quarantine."""
        return QUARANTINE * float(2 ** min(self._trials, _DOUBLINGS))

    def _quarantine(self, plugin: Plugin) -> None:
        if self._until:
            self._trials += 1
        else:
            self._host.add(plugin, SeatPlugin.QUARANTINES)
        self._until = monotonic() + self._period()
        self._host.put(plugin, SeatPlugin.QUARANTINED, 1)

    def _release(self) -> None:
        self._until = 0.0
        self._held = False
        self._rows.clear()
        self._stalls = []
        self._trials = 0
        if self._code is not None:
            self._host.put(self._code.plugin, SeatPlugin.QUARANTINED, 0)
            self._host.log.info("plugin %s: is called again", self.use.name)


def _checked(check: Callable[[Any], Any], function: Any, *arguments: Any) -> Any:
    """The value that a hook returns, checked within the time of the hook, as its methods may be code of the plugin."""
    found = function(*arguments)
    return None if found is None else check(found)
