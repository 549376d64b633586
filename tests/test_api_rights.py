"""The table of rights: each operation, called by each kind of caller.

The statuses are written down here and not computed, so that a changed role shows as a changed row, and a new operation needs a row. The
callers are users of a real database with real tokens; the calls are valid, and a handler that only says that it was reached takes the place
of each operation's own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from terraster.admin.callers import UserIdentity
from terraster.admin.mount import SocketIdentity
from terraster.api.call import Answer, Call, Credentials, Request
from terraster.api.router import Api
from terraster.users.tokens import LIFE

from .harness.api_manual import OPERATIONS
from .harness.users import GOOD, Room
from .test_api_router import Log, Rows

CALLERS = ("nobody", "reader", "operator", "admin", "old", "off", "ended", "scoped", "socket")
"""The columns. old: an administrator whose password has expired. off: one that is disabled. ended: an administrator's access token after its
end. scoped: an administrator's API token for the tag `backends` and the operation `getStatus`. socket: a user of the control socket."""

RIGHTS = """
# operation          nobody reader operator admin old off ended scoped socket call
listServices         401    200    200      200   403 401 401   403    200 GET /api/services
listLocations        401    200    200      200   403 401 401   403    200 GET /api/locations
listBackends         401    200    200      200   403 401 401   200    200 GET /api/backends
addBackend           401    403    201      201   403 401 401   201    201 POST /api/backends {"url":"http://a"}
removeBackend        401    403    200      200   403 401 401   200    200 DELETE /api/backends?url=http://a
changeBackend        401    403    200      200   403 401 401   200    200 PATCH /api/backends?url=http://a {"weight":1}
getHost              401    200    200      200   403 401 401   403    200 GET /api/hosts/a
orderHost            401    403    200      200   403 401 401   403    200 POST /api/hosts/a/orders {"action":"drain"}
getConfig            401    200    200      200   403 401 401   403    200 GET /api/config?service_name=a
setConfig            401    403    200      200   403 401 401   403    200 PUT /api/config?service_name=a {"algorithm":"random"}
changeConfig         401    403    403      200   403 401 401   403    200 PATCH /api/config {"changes":[{"kind":"backend.add"}]}
addLocation          401    403    403      201   403 401 401   403    201 POST /api/locations?service_name=a {"path":"/"}
replaceLocation      401    403    403      200   403 401 401   403    200 PUT /api/locations?service_name=a {"path":"/"}
removeLocation       401    403    403      200   403 401 401   403    200 DELETE /api/locations?service_name=a
getEffectiveConfig   401    200    200      200   403 401 401   403    200 GET /api/config/effective
diffConfig           401    200    200      200   403 401 401   403    200 GET /api/config/diff
listOverrides        401    200    200      200   403 401 401   403    200 GET /api/overrides
dropOverride         401    403    200      200   403 401 401   403    200 DELETE /api/overrides/1
reload               401    403    200      200   403 401 401   403    200 POST /api/reload
setMaintenance       401    403    200      200   403 401 401   403    200 POST /api/services/a/maintenance {"on":true}
listHealth           401    200    200      200   403 401 401   403    200 GET /api/health
listProbes           401    200    200      200   403 401 401   403    200 GET /api/probes
listStats            401    200    200      200   403 401 401   403    200 GET /api/stats
listLimits           401    200    200      200   403 401 401   403    200 GET /api/limits
getStatus            401    200    200      200   403 401 401   200    200 GET /api/status
explainBackend       401    200    200      200   403 401 401   403    200 GET /api/why?url=http://a
listCertificates     401    200    200      200   403 401 401   403    200 GET /api/certificates
listPlugins          401    200    200      200   403 401 401   403    200 GET /api/plugins
listGenerations      401    200    200      200   403 401 401   403    200 GET /api/generations
probeBackend         401    403    200      200   403 401 401   403    200 POST /api/backends/probe?service_name=a&url=http://a
getLogLevel          401    200    200      200   403 401 401   403    200 GET /api/log-level
setLogLevel          401    403    200      200   403 401 401   403    200 POST /api/log-level {"level":"debug"}
listLimitClients     401    403    200      200   403 401 401   403    200 GET /api/limits/clients?service_name=a
resetLimit           401    403    200      200   403 401 401   403    200 POST /api/limits/reset?service_name=a {"name":"a","client":"b"}
listTop              401    200    200      200   403 401 401   403    200 GET /api/top
explainRequest       401    403    200      200   403 401 401   403    200 GET /api/explain?request=GET%20http://a
listRequests         401    200    200      200   403 401 401   403    200 GET /api/requests
listFailures         401    200    200      200   403 401 401   403    200 GET /api/failures
tailRequests         401    200    200      200   403 401 401   403    200 GET /api/tail
diffGenerations      401    200    200      200   403 401 401   403    200 GET /api/generations/diff
rollback             401    403    403      200   403 401 401   403    200 POST /api/generations/1/rollback
adoptOverride        401    403    403      200   403 401 401   403    200 POST /api/overrides/1/adopt
login                200    200    200      200   200 200 200   200    200 POST /api/auth/login {"username":"a","password":"b"}
refresh              200    200    200      200   200 200 200   200    200 POST /api/auth/refresh {"refresh_token":"a"}
revoke               204    204    204      204   204 204 204   204    204 POST /api/auth/revoke {}
changePassword       401    204    204      204   204 401 401   403    204 POST /api/auth/change-password {"oldPassword":"a","newPassword":"b"}
passwordRequirements 200    200    200      200   200 200 200   200    200 GET /api/auth/password-requirements
listSessions         401    200    200      200   403 401 401   403    200 GET /api/auth/sessions
endSession           401    204    204      204   403 401 401   403    204 DELETE /api/auth/sessions/1
listTokens           401    200    200      200   403 401 401   403    200 GET /api/auth/tokens
makeToken            401    201    201      201   403 401 401   403    201 POST /api/auth/tokens {"name":"a"}
endToken             401    204    204      204   403 401 401   403    204 DELETE /api/auth/tokens/1
listUsers            401    403    403      200   403 401 401   403    200 GET /api/auth/users
addUser              401    403    403      201   403 401 401   403    201 POST /api/auth/users {"username":"a","password":"b"}
getUser              401    403    403      200   403 401 401   403    200 GET /api/auth/users/a
changeUser           401    403    403      200   403 401 401   403    200 PATCH /api/auth/users/a {"role":"reader"}
removeUser           401    403    403      204   403 401 401   403    204 DELETE /api/auth/users/a
resetPassword        401    403    403      200   403 401 401   403    200 POST /api/auth/users/a/password {"password":"a"}
unlockUser           401    403    403      200   403 401 401   403    200 POST /api/auth/users/a/unlock
listUserSessions     401    403    403      200   403 401 401   403    200 GET /api/auth/users/a/sessions
endUserSessions      401    403    403      204   403 401 401   403    204 POST /api/auth/users/a/logout
listAudit            401    200    200      200   403 401 401   403    200 GET /api/audit
verifyAudit          401    403    403      200   403 401 401   403    200 GET /api/audit/verify
listEvents           401    200    200      200   403 401 401   403    200 GET /api/events
readHistory          401    200    200      200   403 401 401   403    200 GET /api/history?service_name=a
listObjectives       401    200    200      200   403 401 401   403    200 GET /api/slo
streamStatus         401    200    200      200   403 401 401   403    200 GET /api/stream
"""

ROWS = [line.split(maxsplit=len(CALLERS) + 1) for line in RIGHTS.splitlines() if line and not line.startswith("#")]


def reached(call: Call) -> Answer:
    return Answer(headers=(("X-Operation", call.operation),))


@pytest.fixture(scope="module")
def ask(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[int, str]]:
    """The status of a call by one kind of caller, and the operation that it reached."""
    room = Room(Path(tmp_path_factory.mktemp("users")))
    for name in ("reader", "operator", "admin", "old", "off"):
        room.administration.add(name, name if name in ("reader", "operator") else "admin", GOOD)
    ended = room.login("admin").access
    room.now += LIFE + 1
    bearers = {name: room.login(name).access for name in ("reader", "operator", "admin", "old", "off")}
    room.administration.set_disabled("off", True)
    identity = room.access.identify(bearers["admin"])
    bearers["scoped"] = room.access.make_api_token(identity, "ci", "admin", "backends getStatus", 30)[1]
    bearers |= {"nobody": "", "ended": ended, "socket": ""}
    room.administration.reset_password("old", GOOD, must_change=True)
    bearers["old"] = room.login("old").access
    table = tuple(replace(one, handle=reached, etag=None) for one in OPERATIONS)
    port = Api(table, UserIdentity(room.access), Rows(), Log())
    socket = Api(table, SocketIdentity(), Rows(), Log())

    def call(line: str, caller: str) -> tuple[int, str]:
        method, target, body = (line.split(" ", 2) + [""])[:3]
        path, _, query = target.partition("?")
        head = {"if-match": "*"} | ({"content-type": "application/json"} if body else {})
        octets = body.encode()
        who = Credentials(bearer=bearers[caller], method=method, uid=0 if caller == "socket" else None)
        api = socket if caller == "socket" else port
        reply = api.answer(Request(method, path, query, head, len(octets) if body else None, lambda: octets, who, "r1"))
        return reply.status, dict(reply.headers).get("X-Operation", "")

    return call


def test_each_operation_has_a_row() -> None:
    assert [row[0] for row in ROWS] == [one.id for one in OPERATIONS], "RIGHTS has the operations in the order of the table"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_who_may_call_it(ask: Callable[[str, str], tuple[int, str]], row: list[str]) -> None:
    operation, *statuses, line = row
    found = {caller: ask(line, caller) for caller in CALLERS}
    assert {caller: str(status) for caller, (status, _) in found.items()} == dict(zip(CALLERS, statuses, strict=True))
    assert {reached for status, reached in found.values() if status < 400} == {operation}
    assert {reached for status, reached in found.values() if status >= 400} <= {""}
