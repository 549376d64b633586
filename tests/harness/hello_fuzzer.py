"""A fuzzer for the reader of ClientHellos (`terraster.wire.client_hello`): it changes hellos of a corpus, and keeps those that lead the
reader somewhere new.

"New" is the set of lines of the reader's module that an input runs, as tracing sees it. The corpus is in tests/hellos/, one file for each,
as hexadecimal text; what a run adds is written only if a folder is named. For each input these must hold:

- the reader raises nothing but `HelloError`, however the octets are cut, and says the same for each way of cutting;
- it keeps no more octets than it was given;
- if OpenSSL's server goes on with the hello, the reader reads the same server name, and the protocol that OpenSSL agrees on is one of
  those that it read.

    python -m tests.harness.hello_fuzzer SECONDS [FOLDER]
"""

from __future__ import annotations

import hashlib
import random
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from terraster.wire import client_hello
from terraster.wire.client_hello import HelloError, HelloReader

from .authority import Authority
from .new_lines import NewLines

__all__ = ["CORPUS", "Engine", "Fuzzer", "corpus", "judge", "made_by_openssl", "outcome", "rerecorded"]

CORPUS = Path(__file__).parents[1] / "hellos"
_PROTOCOLS = ("h2", "http/1.1", "acme-tls/1", "x", "a" * 255)
_NAMES = ("a.test", "A.TEST", "a.test.", "xn--bcher-kva.test", "b" * 63 + ".test", "1.a2.test", None)

Outcome = tuple[str, Any]
"""("hello", name and protocols), ("more", None) or ("error", code and plain)."""


def corpus(folder: Path = CORPUS) -> list[bytes]:
    """The inputs that are kept."""
    return [bytes.fromhex(file.read_text()) for file in sorted(folder.glob("*.hex"))]


def outcome(pieces: list[bytes]) -> Outcome:
    """What the reader makes of octets that come in these pieces. Raises what it raises, apart from `HelloError`."""
    reader, given = HelloReader(), 0
    for piece in pieces:
        given += len(piece)
        try:
            found = reader.feed(piece)
        except HelloError as error:
            return "error", (error.code, error.plain)
        assert len(reader.received) == given
        assert len(reader._message) <= given
        if found is not None:
            return "hello", (found.server_name, found.alpn)
    return "more", None


class Engine:
    """OpenSSL's server, as the second opinion."""

    def __init__(self, folder: Path) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*Authority().issue("a.test").write(folder))
        self._context.set_alpn_protocols(list(_PROTOCOLS))
        self._context.sni_callback = self._named
        self._name: str | None = None

    def _named(self, engine: Any, name: str | None, context: Any) -> None:
        self._name = name

    def opinion(self, octets: bytes) -> tuple[str, str | None] | None:
        """The server name and the protocol agreed upon; None if it does not go on with the handshake."""
        self._name = None
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = self._context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(octets)
        try:
            engine.do_handshake()
        except ssl.SSLWantReadError:
            if outgoing.pending and outgoing.read()[:1] == b"\x16":
                return self._name or "", engine.selected_alpn_protocol()
        except ssl.SSLError:
            pass
        return None


def judge(octets: bytes, chance: random.Random, engine: Engine | None) -> Outcome:
    """Hold one input to what must be so. Raises AssertionError, or what the reader raises."""
    whole = outcome([octets])
    cuts = sorted(chance.randrange(len(octets) + 1) for _ in range(3))
    at = [0, *cuts, len(octets)]
    pieces = [octets[one:other] for one, other in zip(at, at[1:], strict=False)]
    assert outcome(pieces) == whole, cuts
    if len(octets) < 4000:
        assert outcome([octets[one : one + 1] for one in range(len(octets))]) == whole
    if engine is not None and whole[0] != "error" and (opinion := engine.opinion(octets)) is not None:
        name, protocol = opinion
        kind, found = whole
        assert kind != "more", "OpenSSL goes on, and the reader waits"
        if kind == "hello":
            expected = name.lower().rstrip(".")
            assert found[0] == expected or (not found[0] and client_hello._is_address(expected)), (found, name)
            if protocol is not None:
                assert protocol.encode() in found[1], (found, protocol)
    return whole


def made_by_openssl(chance: random.Random) -> tuple[bytes, str, tuple[bytes, ...]]:
    """A hello of the ssl module with settings by chance; the name, as a reader should tell it, and the protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    name = chance.choice(_NAMES)
    protocols = chance.sample(_PROTOCOLS, chance.randrange(len(_PROTOCOLS) + 1))
    if protocols:
        context.set_alpn_protocols(protocols)
    versions = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
    context.minimum_version, context.maximum_version = chance.choice(
        [(versions[0], versions[1]), (versions[0], versions[0]), (versions[1], versions[1])]
    )
    if chance.random() < 0.5:
        context.options |= ssl.OP_NO_TICKET
    if chance.random() < 0.3:
        context.set_ciphers("ALL:@SECLEVEL=0")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read(), (name or "").lower().rstrip("."), tuple(one.encode() for one in protocols)


def rerecorded(octets: bytes, size: int, more: int = 0) -> bytes:
    """A hello of one record in records of at most ``size`` octets. more: octets of an unknown extension that is added, as a post-quantum key
    share makes a hello long."""
    message = bytearray(octets[5:])
    if more:
        at = 4 + 2 + 32
        at += 1 + message[at]
        at += 2 + int.from_bytes(message[at : at + 2], "big")
        at += 1 + message[at]
        total = int.from_bytes(message[at : at + 2], "big") + 4 + more
        message[at : at + 2] = total.to_bytes(2, "big")
        message[at + 2 : at + 2] = b"\xfa\xfa" + more.to_bytes(2, "big") + bytes(more)
        message[1:4] = (len(message) - 4).to_bytes(3, "big")
    parts = [bytes(message[one : one + size]) for one in range(0, len(message), size)]
    return b"".join(octets[:3] + len(part).to_bytes(2, "big") + part for part in parts)


class Fuzzer:
    """inputs: the corpus, and what a run added. runs: how many inputs were judged."""

    def __init__(self, seed: int, engine: Engine | None, inputs: list[bytes]) -> None:
        self.inputs = list(inputs)
        self.runs = 0
        self._chance = random.Random(seed)
        self._engine = engine
        self._new = NewLines(client_hello.__file__)
        for one in inputs:
            self._lead(one)

    def run(self, seconds: float) -> list[bytes]:
        """Fuzz for so long. What was found to lead somewhere new. An input that breaks a rule is in the note of the exception."""
        end, before = time.monotonic() + seconds, len(self.inputs)
        while time.monotonic() < end:
            octets = self._next()
            self.runs += 1
            try:
                judge(octets, self._chance, self._engine if self._chance.random() < 0.2 else None)
            except BaseException as error:
                error.add_note(f"the input: {octets.hex()}")
                raise
            if self._lead(octets):
                self.inputs.append(octets)
        return self.inputs[before:]

    def _next(self) -> bytes:
        chance = self._chance
        if chance.random() < 0.05:
            made = made_by_openssl(chance)[0]
            return rerecorded(made, chance.choice((1, 7, 100, 1200, 16384)), chance.choice((0, 0, 1200, 2400)))
        octets = bytearray(chance.choice(self.inputs))
        for _ in range(chance.choice((1, 1, 2, 3, 8))):
            at = chance.randrange(len(octets) + 1)
            match chance.randrange(6):
                case 0 if octets:
                    octets[min(at, len(octets) - 1)] = chance.choice((0, 1, 3, 22, 127, 128, 255, chance.randrange(256)))
                case 1:
                    octets[at:at] = chance.randbytes(chance.choice((1, 2, 5, 40)))
                case 2:
                    del octets[at : at + chance.choice((1, 2, 5, 40))]
                case 3:
                    other = chance.choice(self.inputs)
                    start = chance.randrange(len(other) + 1)
                    octets[at : at + 20] = other[start : start + chance.choice((1, 5, 60))]
                case 4 if len(octets) > 1:  # a length, one more or less
                    at = min(at, len(octets) - 2)
                    length = int.from_bytes(octets[at : at + 2], "big") + chance.choice((-1, 1, 2, 255))
                    octets[at : at + 2] = (length & 0xFFFF).to_bytes(2, "big")
                case _:
                    octets += octets[at : at + 100]
        return bytes(octets[:200_000])

    def _lead(self, octets: bytes) -> bool:
        """True if an input runs a line of the reader after another one that it did not follow before."""
        return self._new.in_call(lambda: outcome([octets]))


def main() -> None:
    """Fuzz for so many seconds, and write what led somewhere new into a folder."""
    import tempfile

    seconds, folder = float(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None
    seed = time.time_ns()
    with tempfile.TemporaryDirectory() as place:
        fuzzer = Fuzzer(seed, Engine(Path(place)), corpus() or [made_by_openssl(random.Random(seed))[0]])
        found = fuzzer.run(seconds)
    print(f"seed {seed}: {fuzzer.runs} inputs judged, {len(found)} led somewhere new")
    for octets in found if folder is not None else ():
        (folder / f"{hashlib.sha256(octets).hexdigest()[:12]}.hex").write_text(octets.hex() + "\n")


if __name__ == "__main__":
    main()
