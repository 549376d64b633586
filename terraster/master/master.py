"""The master: starts everything, watches everything, ends everything; it never touches a client's octets.

    terraster (master)
     ├─ proxy worker, seat 1 … N
     └─ admin worker

gunicorn's Arbiter gives the loop, the signals by name, the pid file and the upgrade by USR2 (`gunicorn.arbiter`); this subclass
decides which role sits in which seat, waits cooperatively (probes, channels and reloads are greenlets of the same hub), and hands
the reload to `terraster.master.reload`. The order of a start:

    load ─▶ lease slots ─▶ compile ─▶ bind ─▶ first round of probes ─▶ fork ─▶ all children serve ─▶ READY=1

A child's way: starting ─"ready"─▶ serving ─replaced by a newer one─▶ outgoing ─TERM─▶ leaving ─▶ reaped, its seat retired.

Forks happen in the main greenlet only. Greenlets that want a child say so in the child's state and wake the loop.

The module is longer than 400 lines: it is to be divided when the master's rooms are redrawn.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent import get_hub
from gevent.event import Event
from gunicorn import util
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.errors import HaltServer

from terraster.config import unserved
from terraster.config.snapshot import Snapshot
from terraster.errors import ConfigError, StartError, TerrasterError
from terraster.logs.program import ProgramLog
from terraster.master.backends.outliers import Traffic
from terraster.master.backends.prober import Prober
from terraster.master.backends.recent_failures import FAILURES, Failing
from terraster.master.backends.states import Standings
from terraster.master.discovery.names import Names
from terraster.master.operator.commands import Steering
from terraster.master.operator.overrides import Overlay
from terraster.state.leases import Leases, capacities
from terraster.state.table import Header, Seat, Table
from terraster.state.view import SeatView

from .backoff import Backoff
from .control import Desk
from .listeners import HANDED_OVER, Listeners, control_address
from .pidfile import Pidfile, runtime_directory
from .reload import Reloader
from .systemd import Notifier

__all__ = ["Master", "run"]

HUNG = 30.0  # seconds without a heartbeat after which a child is killed
FORCED = 2.0  # seconds a child gets beyond its drain timeout, or after QUIT, before it is killed

STARTING, SERVING, OUTGOING, LEAVING = "starting", "serving", "outgoing", "leaving"

Load = Callable[[int], Snapshot]
Compile = Callable[[Snapshot, SeatView], Any]


def run(load: Load, roles: Mapping[str, type], compile: Compile) -> int:
    """Be the master until told to stop; the exit code of the process. `terraster.master.patching.patch` was called before.

    load:    reads the configuration and gives it as generation n: ``load(n) -> Snapshot``; raises ConfigError
    roles:   "proxy" and "admin" (or only one of them) → the `Process` subclass that does it
    compile: ``compile(snapshot, view) -> plan``, where ``plan.updated(change) -> plan``

    0: stopped on request; 1: could not start (StartError, or a child that cannot start); 2: the configuration cannot be used.
    Problems are printed to standard error. In a child this function does not return.
    """
    master: Master | None = None
    try:
        master = Master(load, roles, compile)
        master.run()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except StartError as error:
        print(f"terraster: cannot start: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    finally:
        if master is not None:
            master.log.close()
    return 0


class _App:
    """What gunicorn's Arbiter wants of an application: a configuration."""

    def __init__(self, snapshot: Snapshot, worker: type) -> None:
        self.cfg = Config()
        for key, value in {
            "workers": snapshot.workers,
            "worker_class": worker,
            "control_socket_disable": True,  # it would start a thread
            "logger_class": ProgramLog,
            "loglevel": snapshot.log_level,
            "pidfile": os.path.join(snapshot.runtime_dir, "terraster.pid"),
            "proc_name": "terraster",
            "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
        }.items():
            self.cfg.set(key, value)


class Master(Arbiter):  # type: ignore[misc]
    """The one master of a host. Made, and run, in the main greenlet of a process without threads."""

    def __init__(self, load: Load, roles: Mapping[str, type], compile: Compile) -> None:
        self.load = load
        self.roles = dict(roles)
        self.compile = compile
        self.loaded = self.snapshot = load(1)  # as the file has it, and as it is run (see `arrange`)
        unserved.refuse(self.snapshot)
        super().__init__(_App(self.snapshot, next(iter(self.roles.values()))))
        self.WORKERS: dict[int, Any] = {}
        self.LISTENERS: list[Any] = []  # gunicorn's; ours are in `listeners`
        self.listeners = Listeners()
        self.notifier = Notifier(os.environ)
        self.heard = Event()  # set whenever a child said or did something that a reload may wait for
        self.ending = Event()  # a signal that ends the master came in
        self._wanted = Event()  # the loop has something to do
        self._gone: list[int] = []  # seats of reaped children, to be retired
        self._backoff = {role: Backoff() for role in self.roles}
        self._announced = False
        self._stopped = False
        self.stopping = False
        self.reexec_pid: int = 0

    def start(self) -> None:
        """Everything up to the first fork."""
        snapshot = self.snapshot
        self.pid = os.getpid()
        if "GUNICORN_PID" in os.environ:
            self.master_pid = int(os.environ["GUNICORN_PID"])
            self.proc_name += ".2"
            self.master_name = "Master.2"
        for warning in snapshot.warnings:
            self.log.warning("%s", warning)
        get_hub().exception_stream = self.log.stream()
        self.listeners.inherit(os.environ)
        self.init_signals()
        self._write_pidfile()
        try:
            self._prepare(snapshot)
        except BaseException:
            self.listeners.close_all(unlink=self.master_pid == 0)
            self.pidfile.unlink()
            raise

    def _prepare(self, snapshot: Snapshot) -> None:
        self.overlay = Overlay(snapshot.state_dir, self.log)
        self.overlay.load()
        self.overlay.expire()
        self.names = Names(self.log, lambda: self.reloader.refresh("names").ok)
        self.names.start()
        arranged = self._expand(snapshot)
        backends = sum(len(location.backends) for service in arranged.services for location in service.locations)
        locations = sum(len(service.locations) for service in arranged.services)
        self.table = Table(*capacities(backends, locations, snapshot.workers))
        self.view = SeatView(self.table)
        self.leases = Leases(self.table)
        self.snapshot = snapshot = self.leases.assign(arranged)
        self.leases.commit(snapshot)
        self.plan = self.compile(snapshot, self.view)
        self.listeners.bind(self.addresses(snapshot), snapshot.tcp_keepalive)
        self.listeners.bind_control(control_address(snapshot), aside=self.master_pid != 0)
        for name in self.listeners.unclaimed():
            self.log.warning("no listener of the configuration is %s, which was handed over to us: closed", name)
        q = self.table.q
        q[Header.STARTED] = time.time_ns()
        q[Header.GENERATION] = snapshot.generation
        q[Header.WORKERS] = self.num_workers
        q[Header.LAST_RELOAD_OK] = 1
        q[Header.LAST_RELOAD_TIME] = time.time_ns()
        self.standings = Standings(self.table, self.log)
        self.traffic = Traffic(self.table, self.standings, self.log)
        self.prober = Prober(self.table, self.log, self.standings, self.traffic.checked)
        self.failing = Failing(self.table)
        self.reloader = Reloader(self)
        self.steering = Steering(self)
        self.desk = Desk(self)
        self.notifier.status("probing the backends")
        self.prober.start()
        self.prober.meet(snapshot, self.ending)
        if self.ending.is_set():
            self.log.info("stopped before the first round of probes was over")
            self.notifier.stopping()
            self.names.stop()
            self.prober.stop()
            raise SystemExit(0)
        self.standings.follow(snapshot)
        self.prober.follow(snapshot)
        self.steering.follow()
        self.steering.start()
        self.standings.start()
        self.traffic.start()
        self.names.follow()
        self.names.report(self.standings.resolved)
        gc.collect()
        gc.freeze()
        self.log.info("listening on %s", ", ".join(self.addresses(snapshot)) or "nothing")

    def arrange(self, loaded: Snapshot) -> Snapshot:
        """A configuration as it is run: what operators changed above what the file says, the addresses of names, and a slot for
        everything. Raises StartError. Waits for names that are new. Followed by `Leases.commit` and `Names.follow`, or by `Leases.undo`
        and `Names.part`."""
        return self.leases.assign(self._expand(loaded))

    def _expand(self, loaded: Snapshot) -> Snapshot:
        named = self.overlay.apply(loaded)
        self.names.meet(named, self.ending)
        return self.names.expand(named)

    def _write_pidfile(self) -> None:
        path = self.cfg.pidfile + (".2" if self.master_pid else "")
        runtime_directory(os.path.dirname(path))
        try:
            self.pidfile = Pidfile(path)
            self.pidfile.create(self.pid)
        except OSError as error:
            raise StartError(f"cannot write {path}: {error.strerror}") from error

    @staticmethod
    def addresses(snapshot: Snapshot) -> list[str]:
        """What a snapshot listens on, the control socket apart."""
        wanted = [*(listener.address for listener in snapshot.listeners), *unserved.admin_addresses(snapshot)]
        return list(dict.fromkeys(wanted))

    def listeners_of(self, role: str) -> dict[str, Any]:
        """The open sockets that a role serves, by address."""
        snapshot = self.snapshot
        if role == "proxy":
            addresses = [listener.address for listener in snapshot.listeners]
        else:
            addresses = [*unserved.admin_addresses(snapshot), control_address(snapshot)]
        return {address: self.listeners.open[address] for address in addresses if address in self.listeners.open}

    # Signals and the loop.

    def init_signals(self) -> None:
        super().init_signals()
        self._signal_pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._signal_watcher = get_hub().loop.io(self._signal_pipe[0], 1)
        self._signal_watcher.start(self._on_signals)
        signal.set_wakeup_fd(self._signal_pipe[1], warn_on_full_buffer=False)

    def signal(self, sig: int, frame: Any) -> None:
        """The number is in the wakeup pipe already."""

    signal_chld = signal

    def _on_signals(self) -> None:
        for number in os.read(self._signal_pipe[0], 4096):
            self.SIG_QUEUE.put_nowait(number)
            if number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                self.ending.set()
                self.heard.set()
        self._wanted.set()

    def wakeup(self) -> None:
        """Have the loop turn now."""
        self._wanted.set()

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """One turn's wait: until a signal, a wake-up, the next respawn, or the next sign of life is due."""
        self._live()
        waits = (backoff.remaining(time.monotonic()) for backoff in self._backoff.values())
        due = [timeout, *(seconds for seconds in waits if seconds > 0)]
        if self.notifier.watchdog:
            due.append(self.notifier.watchdog)
        if self.SIG_QUEUE.empty():
            self._wanted.wait(max(0.0, min(due)))
        self._wanted.clear()
        signals = []
        while not self.SIG_QUEUE.empty():
            signals.append(self.SIG_QUEUE.get_nowait())
        self._live()
        return signals

    def _live(self) -> None:
        self.table.q[Header.HEARTBEAT] = time.monotonic_ns()
        self.notifier.alive()
        self.log.flush()
        if not self._announced and not self.stopping and len(self.serving()) == len(self.WORKERS) >= self._total():
            self._announced = True
            self.log.info("ready: %s (pid %d)", self.describe(), self.pid)
            self.notifier.ready(self.describe())

    def describe(self) -> str:
        """One line for the service manager."""
        services = len(self.snapshot.services)
        return f"generation {self.snapshot.generation}, {self.num_workers} workers, {services} service{'s' * (services != 1)}"

    def _total(self) -> int:
        return sum(self._wanted_of(role) for role in self.roles)

    def _wanted_of(self, role: str) -> int:
        return self.num_workers if role == "proxy" else 1

    def serving(self) -> list[Any]:
        """Children that said that they serve and were not told to go."""
        return [worker for worker in self.WORKERS.values() if worker.state == SERVING]

    # Children.

    def manage_workers(self) -> None:
        """Have as many children of each role as wanted: start what lacks, send away what is too many or was replaced."""
        if self.stopping:
            return
        now = time.monotonic()
        for role in self.roles:
            wanted = self._wanted_of(role)
            current = [worker for worker in self._of(role) if worker.state in (STARTING, SERVING)]
            backoff = self._backoff[role]
            for _ in range(wanted - len(current)):
                if backoff.remaining(now) <= 0:
                    self._spawn(role)
            for worker in sorted(current, key=lambda one: one.age)[: max(0, len(current) - wanted)]:
                self.dismiss(worker)
            if sum(worker.state == SERVING for worker in self._of(role)) >= wanted:
                for worker in self._of(role):
                    if worker.state == OUTGOING:
                        self.dismiss(worker)
        while self._gone:
            self.table.retire(self._gone.pop(), self.leases.backend_slots(), self.leases.location_slots())
            self.traffic.retired()
            self.tell_all(("seats",))

    def _of(self, role: str) -> list[Any]:
        return [worker for worker in self.WORKERS.values() if worker.name == role]

    def dismiss(self, worker: Any) -> None:
        """Tell a child to drain and leave."""
        self._leaves(worker)
        self.kill_worker(worker.pid, signal.SIGTERM)

    def _leaves(self, worker: Any) -> None:
        worker.state = LEAVING
        worker.deadline = time.monotonic() + self.snapshot.drain_timeout + FORCED

    def replace(self, worker: Any) -> None:
        """Have a child replaced: a new one first, then this one drains. Any greenlet."""
        if worker.state in (STARTING, SERVING):
            worker.state = OUTGOING
            self.wakeup()

    def _free_seat(self) -> int:
        taken = {worker.seat for worker in self.WORKERS.values()}.union(self._gone)
        return next((seat for seat in range(1, self.table.seats) if seat not in taken), 0)

    def spawn_worker(self) -> None:
        raise NotImplementedError("children have roles; see manage_workers")

    def _spawn(self, role: str) -> None:
        """Fork one child. Main greenlet only."""
        seat = self._free_seat()
        if not seat:
            self.log.error("no seat is free for another %s worker", role)
            return
        self.worker_age += 1
        worker = self.roles[role](self.worker_age, self.pid, [], self.app, HUNG, self.cfg, self.log)
        worker.seat, worker.view, worker.acknowledged = seat, self.view, self.snapshot.generation
        worker.snapshot, worker.plan, worker.listeners = self.snapshot, self.plan, self.listeners_of(role)
        self.table.q[self.table.seat(seat) + Seat.OLDEST] = self.snapshot.generation
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*self.SIGNALS, signal.SIGCHLD, signal.SIGABRT))
        try:
            worker.pid = os.fork()
        except OSError as error:
            self.log.error("cannot fork a %s worker: %s", role, error.strerror)
            self._backoff[role].died(time.monotonic(), 0.0)
            worker.fork_failed()
            return
        finally:
            if worker.pid != 0:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if worker.pid == 0:
            self._be(worker)
        worker.in_master()
        self.tell_all(("seats",))
        self.WORKERS[worker.pid] = worker
        worker.reader = gevent.spawn(self._listen_to, worker)
        self.log.info("%s worker %d started in seat %d", role, worker.pid, seat)

    def _be(self, worker: Any) -> None:
        """In the child: its life, then the end of the process, without finalizers of what the master was doing when it forked."""
        code = 0
        self.log.forked()
        try:
            worker.pid = os.getpid()
            worker.before = lambda: self._let_go(worker)
            util._setproctitle(f"{worker.name} worker [terraster]")
            worker.init_process()
        except BaseException:
            code = 1 if worker.booted else self.WORKER_BOOT_ERROR
            self.log.exception("%s worker %d failed", worker.name, os.getpid())
        finally:
            self.log.close()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _let_go(self, worker: Any) -> None:
        """In the child: close what only the master, or another child, may hold. An open end of a channel would hide a dead
        master."""
        signal.set_wakeup_fd(-1)
        for fd in self._signal_pipe:
            os.close(fd)
        for sibling in self.WORKERS.values():
            sibling.channel.abandon()
            sibling.tmp.close()
        for address, one in self.listeners.open.items():
            if address not in worker.listeners:
                one.close()
        self.prober.abandon()
        self.names.abandon()
        self.pidfile.abandon()
        os.environ.pop("NOTIFY_SOCKET", None)

    def _listen_to(self, worker: Any) -> None:
        """One greenlet per child: takes what it says until its end of the channel closes."""
        try:
            while True:
                message, _descriptors = worker.channel.receive()
                match message:
                    case ("ready", _generation):
                        if worker.state == STARTING:
                            worker.state = SERVING
                        self.tell_all(("seats",))
                        self.wakeup()
                    case ("applied", generation):
                        worker.acknowledged = generation
                        self.heard.set()
                    case ("failed", generation, why):
                        worker.refused = (generation, why)
                        self.heard.set()
                    case ("draining",):
                        if not self.stopping and worker.state in (STARTING, SERVING):
                            self.log.info("%s worker %d drains, as somebody told it to; replaced at once", worker.name, worker.pid)
                            self._leaves(worker)
                            self.wakeup()
                    case ("traffic", reports):
                        self.traffic.receive(reports, worker.seat)
                        self.failing.note({report[0] for report in reports if report[2] in FAILURES})
                    case ("ask", ticket, verb, arguments):
                        gevent.spawn(self.desk.answer, worker, ticket, verb, arguments)
        except TerrasterError:
            return  # it has gone; SIGCHLD says the rest

    def tell_all(self, message: tuple[Any, ...]) -> None:
        """Send a message to every child that serves, without waiting for any of them."""
        for worker in self.serving():
            gevent.spawn(_tell, worker, message)

    def reap_workers(self) -> None:
        """Collect the children that ended, and see to their succession."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if pid == self.reexec_pid:
                self.reexec_pid = 0
                self.log.error("the new master (pid %d) ended; this one goes on", pid)
                gevent.spawn(self.steering.alone)
            elif pid in self.WORKERS:
                self._reaped(self.WORKERS.pop(pid), status)

    def _reaped(self, worker: Any, status: int) -> None:
        how = _ending(status)
        worker.reader.kill(block=False)
        worker.channel.close()
        worker.tmp.close()
        self._gone.append(worker.seat)
        self.heard.set()
        if self.stopping or worker.state == LEAVING:
            self.log.info("%s worker %d left (%s)", worker.name, worker.pid, how)
            return
        if not self._announced and os.WIFEXITED(status) and os.WEXITSTATUS(status) == self.WORKER_BOOT_ERROR:
            raise HaltServer(f"the {worker.name} worker cannot start", 1)
        self.table.q[Header.WORKER_RESTARTS] += 1
        now = time.monotonic()
        delay = self._backoff[worker.name].died(now, now - worker.started)
        self.log.error(
            "%s worker %d in seat %d died (%s); replaced %s",
            worker.name,
            worker.pid,
            worker.seat,
            how,
            f"in {delay:g} s" if delay else "at once",
        )

    def murder_workers(self) -> None:
        """Kill children that hang, and those that were told to go and did not."""
        now = time.monotonic()
        for worker in list(self.WORKERS.values()):
            beat = self.table.q[self.table.seat(worker.seat) + Seat.HEARTBEAT] / 1e9
            if worker.deadline and now > worker.deadline:
                self.log.error("%s worker %d did not leave in time, killed", worker.name, worker.pid)
                self.kill_worker(worker.pid, signal.SIGKILL)
                worker.deadline = now + FORCED
            elif now - max(beat, worker.started) > HUNG:
                self.log.critical("%s worker %d hangs: no heartbeat for %d s", worker.name, worker.pid, HUNG)
                self.kill_worker(worker.pid, signal.SIGKILL if worker.aborted else signal.SIGABRT)
                worker.aborted = True

    def kill_worker(self, pid: int, sig: int) -> None:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            return  # SIGCHLD is on its way

    # What the signals mean, where it differs from gunicorn.

    def reload(self) -> None:
        """HUP: reload in place, in a greenlet of its own; the loop goes on."""
        gevent.spawn(self.reloader.reload, "HUP")

    def set_workers(self, count: int) -> None:
        """Have so many proxy workers from now on. Any greenlet."""
        self.num_workers = max(1, min(count, self.table.seats // 2 - 1))
        if self.num_workers < count:
            self.log.warning("no more than %d workers: the shared table has %d seats", self.num_workers, self.table.seats)
        self.table.q[Header.WORKERS] = self.num_workers
        self.wakeup()

    def handle_ttin(self) -> None:
        self.set_workers(self.num_workers + 1)

    def handle_ttou(self) -> None:
        self.set_workers(self.num_workers - 1)

    def handle_usr2(self) -> None:
        """Upgrade in place: a new master with our listening sockets; we go on until somebody sends us TERM or QUIT."""
        if self.reexec_pid or self.master_pid:
            self.log.warning("USR2 ignored: an upgrade is under way")
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (*self.SIGNALS, signal.SIGCHLD))
        self.reexec_pid = os.fork()
        if self.reexec_pid == 0:
            self._become_successor()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.steering.upgrade()
        self.log.info("new master %d started; this one goes on until it gets TERM or QUIT", self.reexec_pid)

    def _become_successor(self) -> None:
        self.log.forked()
        try:
            signal.set_wakeup_fd(-1)
            environ = {key: value for key, value in self.cfg.env_orig.items() if not key.startswith("LISTEN_")}
            environ["GUNICORN_PID"] = str(os.getppid())
            environ[HANDED_OVER] = self.listeners.hand_over(without=control_address(self.snapshot))
            if "WATCHDOG_USEC" in environ:
                environ["WATCHDOG_PID"] = str(os.getpid())
            os.chdir(self.START_CTX["cwd"])
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environ)
        except BaseException:
            self.log.exception("cannot start a new master")
        finally:
            os._exit(1)

    def maybe_promote_master(self) -> None:
        second = self.master_pid != 0
        super().maybe_promote_master()
        if second and self.master_pid == 0:
            self.listeners.promote()
            gevent.spawn(self.steering.alone)
            self.notifier.ready(self.describe())

    def stop(self, graceful: bool = True) -> None:
        """End all children: drained, or at once. Safe to call again."""
        if self._stopped:
            return
        self._stopped = self.stopping = True
        self.ending.set()
        self.heard.set()
        self.notifier.stopping(self.reexec_pid)
        self.steering.stop()
        self.names.stop()
        self.prober.stop()
        self.traffic.stop()
        self.standings.stop()
        self.listeners.close_all(unlink=self.reexec_pid == 0 and self.master_pid == 0)
        now = time.monotonic()
        limit = now + (self.snapshot.drain_timeout if graceful else 0.0) + FORCED
        self.kill_workers(signal.SIGTERM if graceful else signal.SIGQUIT)
        while self.WORKERS and time.monotonic() < limit:
            for number in self.wait_for_signals(min(1.0, max(0.0, limit - time.monotonic()))):
                if number in (signal.SIGINT, signal.SIGQUIT):
                    limit = min(limit, time.monotonic() + FORCED)
                    self.kill_workers(signal.SIGQUIT)
            self.reap_workers()
        self.kill_workers(signal.SIGKILL)
        while self.WORKERS:
            self.wait_for_signals(0.1)
            self.reap_workers()


def _tell(worker: Any, message: tuple[Any, ...]) -> None:
    try:
        worker.channel.send(message)
    except TerrasterError:
        return  # it has gone; SIGCHLD says the rest


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit code {os.WEXITSTATUS(status)}"
