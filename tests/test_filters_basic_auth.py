"""`basic_auth`: what may be written, and which requests come in."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from terraster.certs.faults import faults
from terraster.config.diff import diff
from terraster.config.resolve import resolve
from terraster.errors import ConfigError, HttpError
from terraster.exchange import Exchange
from terraster.filters.basic_auth import BasicAuth, BasicAuthSettings
from terraster.filters.contract import Place
from terraster.filters.runtime import Runtime
from terraster.state.cells import SeatLocation
from terraster.state.table import Table
from terraster.state.view import SeatView
from terraster.wire.edits import Edits

from .harness.configuration import load
from .harness.refusals import SERVICE, refusal

RIGHT = "{SHA}s9UEO/HCMYgIkKBKXK8zd9K9FPs="
OTHER = "$2y$04$" + "a" * 53
FILE = "/etc/htpasswd"


class Passwords:
    """Says yes to the password that is the hash, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, bytes, bytes]] = []
        self.busy = False

    def verify(self, client: str, user: bytes, password: bytes, hashed: bytes) -> bool:
        self.asked.append((client, user, password, hashed))
        if self.busy:
            raise HttpError("too many", status=503)
        return password == hashed


class Head:
    def __init__(self, *values: str) -> None:
        self.fields = [(b"aUthorization", value.encode()) for value in values]
        self.method, self.target, self.size, self.content_length, self.chunked = b"GET", b"/", 0, 0, False


class House:
    """One filter. counted: its counters."""

    def __init__(self, contents: dict[str, bytes] | None = None, **written: Any) -> None:
        written = written or {"users": {"ada": RIGHT, "bob": OTHER}}
        self.view = SeatView(Table(1, 1, 1))
        self.passwords = Passwords()
        runtime = Runtime()
        runtime.passwords = self.passwords
        place = Place(None, None, self.view, {"asked": 112, "wrong": 113, "busy": 114}, runtime)
        self.filter = BasicAuth(BasicAuthSettings(**written).with_contents(contents or {}), place, self.view)

    def ask(self, *values: str) -> tuple[int, str]:
        """(status, name of the user); 0: it came in."""
        exchange = Exchange(0.0, 0.0, "192.0.2.1", "192.0.2.1", "http", Head(*values))
        try:
            assert self.filter.on_request(exchange) is None
        except HttpError as error:
            assert exchange.user == ""
            self.error = error
            return error.status, ""
        return 0, exchange.user

    @property
    def counted(self) -> list[int]:
        return [self.view.q[self.view.locations + self.view.table.unrouted * SeatLocation.CELLS + cell] for cell in (112, 113, 114)]


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("values", "outcome", "counted"),
    [
        ([basic("ada", RIGHT)], (0, "ada"), [0, 0, 0]),
        ([basic("bob", OTHER)], (0, "bob"), [0, 0, 0]),
        ([basic("ada", OTHER)], (401, ""), [0, 1, 0]),
        ([basic("eve", RIGHT)], (401, ""), [0, 1, 0]),
        ([basic("eve", OTHER)], (401, ""), [0, 1, 0]),
        ([basic("", "")], (401, ""), [0, 1, 0]),
        ([], (401, ""), [1, 0, 0]),
        (["Bearer x"], (401, ""), [1, 0, 0]),
        (["Basic x"], (401, ""), [1, 0, 0]),
        ([""], (401, ""), [1, 0, 0]),
        ([basic("ada", RIGHT), basic("bob", "x")], (400, ""), [0, 0, 0]),
        ([basic("ada", RIGHT), basic("ada", RIGHT)], (400, ""), [0, 0, 0]),
    ],
)
def test_who_comes_in(values: list[str], outcome: tuple[int, str], counted: list[int]) -> None:
    house = House()
    assert house.ask(*values) == outcome
    assert house.counted == counted


def test_a_refusal_says_why_and_nothing_secret() -> None:
    house = House(users={"ada": RIGHT}, realm='a "b" \\')
    for values, detail in [
        ([], "basic_auth: a user name and a password are needed"),
        ([basic("ada", "topsecret")], "basic_auth: wrong user name or password"),
        ([basic("eve", "topsecret")], "basic_auth: wrong user name or password"),
    ]:
        assert house.ask(*values)[0] == 401
        assert (house.error.reason, house.error.detail, house.error.blame) == ("http_request_denied", detail, "client")
        assert house.error.fields == ((b"WWW-Authenticate", b'Basic realm="a \\"b\\" \\\\", charset="UTF-8"'),)


def test_an_unknown_user_costs_a_comparison_with_the_hash_of_a_known_one() -> None:
    house = House(users={f"user{number}": f"$2y$04${number:053d}" for number in range(3)})
    for number in range(50):
        house.ask(basic(f"nobody{number}", "guess"))
    hashes = {hashed for _, _, _, hashed in house.passwords.asked}
    assert len(house.passwords.asked) == 50
    assert hashes == {f"$2y$04${number:053d}".encode() for number in range(3)}, "each costs what that of some user costs"
    assert {user for _, user, _, _ in house.passwords.asked} == {f"nobody{number}".encode() for number in range(50)}


def test_too_many_comparisons_are_no_answer_about_the_password() -> None:
    house = House()
    house.passwords.busy = True
    assert house.ask(basic("ada", RIGHT)) == (503, "")
    assert house.counted == [0, 0, 1]


def test_users_of_a_file() -> None:
    house = House({FILE: f"eve:{OTHER}\nada:{OTHER}\n".encode()}, file=FILE, users={"ada": RIGHT})
    assert house.ask(basic("eve", OTHER)) == (0, "eve")
    assert house.ask(basic("ada", RIGHT)) == (0, "ada")
    assert house.ask(basic("ada", OTHER)) == (401, ""), "the configuration's own user wins"


@pytest.mark.parametrize("contents", [{}, {FILE: b"# nobody\n"}])
def test_without_a_user_nobody_comes_in(contents: dict[str, bytes]) -> None:
    house = House(contents, file=FILE)
    assert house.ask(basic("ada", RIGHT)) == (401, "")
    assert house.passwords.asked == []


@pytest.mark.parametrize(("forward", "drop"), [(True, set()), (False, {b"authorization"})])
def test_the_field_goes_on_or_not(forward: bool, drop: set[bytes]) -> None:
    made = House(users={"ada": RIGHT}, forward_credentials=forward).filter
    assert made.needs("on_request") and made.needs("on_upstream") is not forward
    edits = Edits()
    if made.needs("on_upstream"):
        made.on_upstream(Exchange(0.0, 0.0, "", "", "http"), edits)
    assert edits.drop == drop


TEXT = SERVICE % "{basic_auth: %s}"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("{}", "service s, /: `basic_auth` needs `users` or `file`"),
        ("{users: {}}", "service s, /: `basic_auth` needs `users` or `file`"),
        (
            "{users: {ada: topsecret}}",
            "`basic_auth` user ada has a password that is hashed neither with bcrypt nor as $apr1$ or {SHA}",
        ),
        (f"{{users: {{'a:b': '{RIGHT}'}}}}", "`basic_auth` has the user name 'a:b'; a name must not be empty"),
        (f"{{users: {{ada: '{RIGHT}'}}, realm: später}}", "`basic_auth` has a `realm` that is not ASCII"),
    ],
)
def test_what_is_refused_at_the_start(tmp_path: Path, keys: str, problem: str) -> None:
    said = refusal(tmp_path, TEXT % keys)
    assert problem in said
    assert "topsecret" not in said


def test_a_check_reads_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(TEXT % "{file: users}")
    with pytest.raises(ConfigError, match=rf"t.yaml:\d+:\d+: the file {tmp_path}/users cannot be read: No such file"):
        load(str(tmp_path / "t.yaml"))
    (tmp_path / "users").write_bytes(b"ada:topsecret")
    (fault,) = faults(resolve(load(str(tmp_path / "t.yaml")), 1, environ={}))
    assert (fault.key, fault.file, fault.where) == ("file", str(tmp_path / "users"), "service s")
    assert "line 1 has a password that is hashed neither" in fault.words and "topsecret" not in fault.words


LEVELS = f"""
middleware: [{{basic_auth: {{users: {{top: '{RIGHT}'}}, realm: all, forward_credentials: false}}}}]
services:
  - name: s
    locations:
      - {{path: /, backends: [http://10.0.0.1]}}
      - {{path: /open, backends: [http://10.0.0.1], middleware: [{{basic_auth: off}}]}}
      - {{path: /own, backends: [http://10.0.0.1], middleware: [{{basic_auth: {{users: {{own: '{RIGHT}'}}}}}}]}}
      - {{path: /named, backends: [http://10.0.0.1], middleware: [{{basic_auth: {{realm: other}}}}]}}
"""


def test_users_of_a_narrower_level_take_the_place_of_those_of_a_wider_one(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(LEVELS)
    service = resolve(load(str(tmp_path / "t.yaml")), 1, environ={}).services[0]
    found = {location.path: dict(location.filters).get("basic_auth") for location in service.locations}
    told = {path: one and (list(one.users), one.realm, one.forward_credentials) for path, one in found.items()}
    assert told == {
        "/": (["top"], "all", False),
        "/open": None,
        "/own": (["own"], "all", False),
        "/named": (["top"], "other", False),
    }


def test_no_hash_is_shown(tmp_path: Path) -> None:
    made = []
    for number, hashed in enumerate((RIGHT, OTHER), 1):
        (tmp_path / "t.yaml").write_text(TEXT % f"{{users: {{ada: '{hashed}'}}}}")
        made.append(resolve(load(str(tmp_path / "t.yaml")), number, environ={}))
    lines = diff(*made).describe()
    assert lines and "ada" in lines[0]
    for shown in (str(lines), repr(made[0]), str(made[1].services[0].locations[0].filters)):
        assert RIGHT not in shown and OTHER not in shown
