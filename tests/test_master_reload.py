"""Reload in place, with a real master: what changes, what must not, and what is said about it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time

import pytest

from .harness.family import Family
from .harness.ports import free_port
from .harness.program import is_gone


def generations(family: Family) -> set[int]:
    return {worker["generation"] for worker in family.ask("status")["workers"]}


def test_every_child_runs_the_new_generation_when_the_answer_comes() -> None:
    with Family(workers=2) as family:
        before = family.pids() | family.pids("admin")
        family.write(services={"one": ["http://127.0.0.1:1"], "two": ["http://127.0.0.1:2"]})
        outcome = family.ask("reload")
        assert outcome["ok"] and outcome["generation"] == 2 and outcome["problems"] == [] and outcome["replaced"] == []
        assert any("two" in line for line in outcome["changes"])
        assert generations(family) == {2}
        assert family.get()["services"] == ["one", "two"]
        assert family.pids() | family.pids("admin") == before
        status = family.ask("status")
        assert (status["reloads"], status["reload_failures"], status["last_reload"]["ok"]) == (1, 0, True)
        assert set(status["prober"]) == {"one/ http://127.0.0.1:1", "two/ http://127.0.0.1:2"}


def test_hup_reloads_too() -> None:
    with Family(workers=1) as family:
        family.write(drain=4)
        family.process.send_signal(signal.SIGHUP)
        family.until(r"reload \(HUP\): generation 2 runs")
        assert family.get()["generation"] == 2


def test_a_reload_in_which_nothing_changed_makes_no_generation() -> None:
    with Family(workers=2) as family:
        before = family.pids() | family.pids("admin")
        outcome = family.ask("reload")
        assert outcome["ok"] and (outcome["generation"], outcome["changes"], outcome["replaced"]) == (1, [], [])
        status = family.ask("status")
        assert (status["generation"], status["reloads"], status["last_reload"]["ok"]) == (1, 1, True)
        assert generations(family) == {1} and family.pids() | family.pids("admin") == before
        family.write(services={"one": ["http://127.0.0.1:1"]})
        assert family.ask("reload")["generation"] == 2
        family.write(services={"uncompilable": []})
        assert not family.ask("reload")["ok"]
        family.write(services={"one": ["http://127.0.0.1:1"]})
        outcome = family.ask("reload")
        assert (outcome["ok"], outcome["generation"], outcome["changes"]) == (True, 2, [])
        assert family.ask("status")["last_reload"]["ok"] and family.get()["services"] == ["one"]


REFUSED = [
    ({"problem": "unknown key `prot`"}, "family.json:3:7: unknown key `prot`"),
    ({"services": {"uncompilable": []}}, "cannot be compiled: ValueError: this service cannot be compiled"),
    ({"listen": ["127.0.0.1:PORT", "127.0.0.1:TAKEN"]}, "cannot listen on 127.0.0.1:TAKEN: Address already in use"),
    ({"listen": ["127.0.0.1:PORT"], "tls": ["127.0.0.1:PORT"]}, "service one: `tls` names no certificate"),
    ({"services": {f"s{n}": [] for n in range(33_000)}}, "no room for location"),
]


@pytest.mark.parametrize(("settings", "problem"), REFUSED, ids=["problem", "compile", "port", "tls", "room"])
def test_what_cannot_be_applied_changes_nothing(settings: dict[str, object], problem: str) -> None:
    with socket.socket() as other, Family(workers=1) as family:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def real(text: str) -> str:
            return text.replace("PORT", str(family.port)).replace("TAKEN", str(other.getsockname()[1]))

        good = dict(family.settings)
        family.write(
            **{key: [real(item) for item in value] if isinstance(value, list) else value for key, value in settings.items()}
        )
        outcome = family.ask("reload")
        assert not outcome["ok"] and outcome["generation"] == 1
        assert real(problem) in outcome["problems"][0]
        assert real(problem) in family.log()
        status = family.ask("status")
        assert (status["generation"], status["reloads"], status["reload_failures"]) == (1, 0, 1)
        assert status["last_reload"]["ok"] is False
        assert family.get()["generation"] == 1 and family.get()["services"] == ["one"]
        assert list(status["prober"]) == [f"one/ http://127.0.0.1:{family.port}"]
        family.settings = good
        family.write(services={"fine": []})
        assert family.ask("reload")["generation"] == 2
        assert family.get()["services"] == ["fine"]


def test_listeners_come_and_go() -> None:
    with Family(workers=2) as family:
        port, path = free_port(), f"{family.directory.name}/web.sock"
        family.write(listen=[f"127.0.0.1:{port}", f"unix:{path}"])
        assert family.ask("reload")["ok"]
        assert family.get(port=port)["generation"] == 2
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", family.port), 1)
        family.write(listen=[f"127.0.0.1:{family.port}"])
        assert family.ask("reload")["ok"]
        assert family.get()["generation"] == 3
        assert not os.path.exists(path)


def test_an_address_that_overlaps_one_in_use_is_named_with_a_way_out() -> None:
    with Family(workers=1) as family:
        old, new = f"127.0.0.1:{family.port}", f":{family.port}"
        family.write(listen=[new])
        (problem,) = family.ask("reload")["problems"]
        assert f"cannot listen on {new}: Address already in use: it overlaps {old}" in problem and "restart" in problem
        family.write(listen=[f"127.0.0.1:{free_port()}"])
        assert family.ask("reload")["ok"]
        family.write(listen=[new])
        assert family.ask("reload")["ok"]
        assert family.get()["generation"] == 3


def test_a_worker_killed_after_a_reload_comes_back_with_the_new_listeners() -> None:
    with Family(workers=1) as family:
        port = free_port()
        family.write(listen=[f"127.0.0.1:{port}"])
        assert family.ask("reload")["ok"]
        (before,) = family.pids()
        os.kill(before, signal.SIGKILL)
        family.wait_until(lambda: family.pids() - {before})
        assert family.get(port=port)["generation"] == 2


def test_a_child_that_refuses_is_replaced() -> None:
    with Family(workers=2) as family:
        before = family.pids()
        family.write(services={"refused-by-proxy": []})
        outcome = family.ask("reload")
        assert outcome["ok"] and set(outcome["replaced"]) == before
        assert "does not run generation 2: ValueError: I will not; replaced" in family.log()
        family.wait_until(lambda: len(family.pids()) == 2 and not family.pids() & before)
        assert family.get()["services"] == ["refused-by-proxy"]
        family.wait_until(lambda: all(is_gone(pid) for pid in before))


def test_a_child_that_does_not_answer_in_time_is_replaced_and_its_requests_end_well() -> None:
    with Family(workers=1, patience=0.5) as family:
        before = family.pids()
        answers: list[dict[str, object]] = []
        slow = threading.Thread(target=lambda: answers.append(family.get("/slow/2.5")))
        slow.start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        family.write(apply_takes=1.5, drain=4.0)
        outcome = family.ask("reload")
        assert outcome["ok"] and before <= set(outcome["replaced"])
        family.wait_until(lambda: len(family.pids()) == 1 and not family.pids() & before)
        slow.join()
        assert answers[0]["pid"] in before


def test_requests_in_flight_do_not_notice() -> None:
    with Family(workers=1, restless=True) as family:
        answers: list[dict[str, object]] = []
        slow = threading.Thread(target=lambda: answers.append(family.get("/slow/1")))
        slow.start()
        family.wait_until(lambda: family.children()[0]["accepted"] == 1)
        for generation in range(2, 7):
            assert family.ask("reload")["generation"] == generation
        assert not answers
        slow.join()
        assert len(answers) == 1


def test_reloads_at_the_same_time_happen_one_after_the_other() -> None:
    with Family(workers=2, apply_takes=0.2, restless=True) as family:
        outcomes: list[dict[str, object]] = []
        threads = [threading.Thread(target=lambda: outcomes.append(family.ask("reload"))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcome["generation"] for outcome in outcomes if outcome["ok"]) == [2, 3, 4, 5]  # type: ignore[type-var]
        assert generations(family) == {5}


def test_the_number_of_workers_follows_the_file_only_when_the_file_changed() -> None:
    with Family(workers=1) as family:
        family.process.send_signal(signal.SIGTTIN)
        family.wait_until(lambda: len(family.pids()) == 2)
        assert family.ask("reload")["ok"]
        assert len(family.pids()) == 2
        family.write(workers=3)
        assert family.ask("reload")["ok"]
        family.wait_until(lambda: len(family.pids()) == 3)


def test_another_admin_address_means_another_admin_worker() -> None:
    with Family(workers=1) as family:
        (before,), proxies, port = family.pids("admin"), family.pids(), free_port()
        family.write(admin=f"127.0.0.1:{port}")
        outcome = family.ask("reload")
        assert outcome["ok"] and "the admin worker is being replaced" in outcome["notes"][0]
        family.wait_until(lambda: family.get("/status", port=port)["generation"] == 2)
        family.wait_until(lambda: is_gone(before))
        assert family.pids() == proxies


def test_a_new_runtime_directory_needs_a_restart_and_says_so() -> None:
    with Family(workers=1) as family:
        family.write(runtime_dir=family.runtime + "2")
        outcome = family.ask("reload")
        assert outcome["ok"] and "runtime_dir needs a restart" in outcome["notes"][0]
        assert family.ask("status")["generation"] == 1


def test_a_large_change_arrives_whole() -> None:
    with Family(workers=2) as family:
        names = [f"service-{number:04}" for number in range(1500)]
        family.write(services={name: ["http://127.0.0.1:1"] for name in names})
        assert family.ask("reload")["ok"]
        assert family.get()["services"] == names


def test_stop_through_the_control_socket() -> None:
    with Family(workers=1) as family:
        assert family.ask("stop")["ok"]
        assert family.process.wait(5) == 0


@pytest.mark.parametrize("when", ["probes", "children"])
def test_term_during_a_reload_ends_the_reload_and_whoever_asked_is_answered(when: str) -> None:
    family = Family(workers=1)
    address = f"{family.directory.name}/notify"
    family.environ = {"NOTIFY_SOCKET": address}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, socket.socket() as silent, family:
        manager.bind(address)
        manager.settimeout(10)
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        if when == "probes":
            check = {"type": "http", "timeout": 4.0, "interval": 60}
            family.write(services={"new": [f"http://127.0.0.1:{silent.getsockname()[1]}"]}, check=check)
        else:
            family.write(apply_takes=2.0, listen=[f"127.0.0.1:{free_port()}"])
        answers: list[dict[str, object]] = []
        held: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(family.ask("reload")))
        asking.start()
        if when == "probes":
            held = [silent.accept()]
        else:
            family.wait_until(lambda: family.ask("status")["generation"] == 2)
        family.process.terminate()
        asking.join(10)
        held.clear()
        (answer,) = answers
        assert not answer["ok"] and answer["problems"] == ["Terraster is stopping"]
        assert answer["generation"] == (1 if when == "probes" else 2)
        assert family.process.wait(10) == 0
        assert "Traceback" not in family.log() and "replaced" not in family.log()
        manager.setblocking(False)
        told = []
        while True:
            try:
                told.append(manager.recv(4096).decode().partition("\n")[0])
            except BlockingIOError:
                break
        words = [word for word in told if word in ("RELOADING=1", "READY=1", "STOPPING=1")]
        assert "READY=1" in words[words.index("RELOADING=1") :] and words[-1] == "STOPPING=1"


def test_more_workers_than_there_are_seats_for_are_a_note() -> None:
    with Family(workers=1, drain=0.1) as family:
        family.write(workers=33)
        outcome = family.ask("reload")
        assert outcome["ok"] and outcome["notes"] == ["workers: 33 need a restart; there are seats for 31"]
        family.process.send_signal(signal.SIGQUIT)
        family.process.wait(10)


def test_an_unknown_verb_is_answered() -> None:
    with Family(workers=1) as family:
        assert "knows no 'dance'" in family.ask("dance")["problems"][0]


def descriptors_at_rest(family: Family) -> int:
    """The descriptors of its master: the least number of some looks, as the connection of an order ends a moment after its answer."""
    looks = []
    for _ in range(10):
        time.sleep(0.02)
        looks.append(len(os.listdir(f"/proc/{family.pid}/fd")))
    return min(looks)


def test_a_hundred_reloads_leak_no_descriptors_and_lose_no_answer() -> None:
    with Family(workers=1) as family:
        port = free_port()
        descriptors = []
        with family.traffic() as failed:
            for number in range(100):
                extra = [f"127.0.0.1:{port}"] if number % 2 else []
                family.write(
                    listen=[f"127.0.0.1:{family.port}", *extra],
                    services={"one": [f"http://127.0.0.1:{number + 1}"]},
                )
                assert family.ask("reload")["ok"]
                if number in (9, 99):
                    descriptors.append(descriptors_at_rest(family))
        assert failed == []
        assert descriptors[0] == descriptors[1]
        assert generations(family) == {101}
        started = time.monotonic()
        assert family.ask("reload")["seconds"] < 1.0 and time.monotonic() - started < 2.0
