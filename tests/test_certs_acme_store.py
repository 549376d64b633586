"""What ACME leaves on the disk: whatever the services are called, no file is another one's."""

from __future__ import annotations

import itertools
from pathlib import Path

from terraster.certs.acme_store import Store

NAMES = ("account", "orders", "web", "web.order", "web.record", "web.pem", "account.json", "*", "_", "x" * 300)


def test_no_name_of_a_service_touches_what_is_of_another(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.keep_account({"key": "k"})
    store.write("orders.json", {"orders": {}})
    for name in NAMES:
        store.keep_record(name, {"record": name})
        store.keep_order(name, {"order": name})
        store.keep_certificate(name, name.encode())
    assert store.account() == {"key": "k"}
    assert store.read("orders.json") == {"orders": {}}
    for name in NAMES:
        assert store.record(name) == {"record": name}
        assert store.order(name) == {"order": name}
        assert store.certificate(name) == name.encode()
    for one, other in itertools.permutations(NAMES, 2):
        store.forget_order(one)
        assert store.order(one) == {}
        assert store.record(other) == {"record": other}
