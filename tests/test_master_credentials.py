"""Files for TLS towards backends in a reload: what is kept, and that a reload says so."""

from __future__ import annotations

from pathlib import Path

from terraster.config.snapshot import Backend, Credentials, Location, Service, Snapshot
from terraster.master.agenda import Agenda
from terraster.master.credentials import BackendCredentials
from terraster.master.participant import Proposal

from .harness.authority import Authority
from .harness.ward import Lines

CA = Authority()


def test_a_reload_names_the_files_that_cannot_be_used_and_are_kept(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(CA.root)
    chain, key = CA.issue("me").write(tmp_path)
    files = Credentials(ca_file=str(tmp_path / "ca.pem"), client_cert=str(chain), client_key=str(key))
    backend = Backend("b", "https://h", "https", "h", 443, credentials=files, probe_credentials=files)
    snapshot = Snapshot(1, (), (Service("a", ("a.test",), (), (Location(id="l", path="/", backends=(backend,)),)),))
    log = Lines()
    credentials = BackendCredentials(log, Agenda(log, lambda: 0.0), lambda: True)  # type: ignore[arg-type]

    def reload() -> list[str]:
        new = Proposal(snapshot)
        credentials.prepare(new)
        kept = credentials.kept(new)
        credentials.commit(new)
        return kept

    assert reload() == []
    (tmp_path / "ca.pem").write_bytes(b"")
    key.write_bytes(CA.issue("me").key)
    stays = "what was read before stays in use"
    wrong = f"certificate {chain} with key {key}: the key does not belong to the certificate"
    for _ in range(2):
        assert reload() == [f"{tmp_path}/ca.pem is empty; {stays}", f"{wrong}; {stays}"]
    (tmp_path / "ca.pem").write_bytes(CA.root)
    CA.issue("me").write(tmp_path)
    assert reload() == []
