"""Obtains certificates by ACME (RFC 8555). A process of its own, started by the admin worker for one order, and over with it.

    python -m terraster.certs.acme_client DESCRIPTOR

The library for ACME talks through blocking sockets, keeps 17 MiB and makes keys, which takes up to seconds. None of that belongs on a hub
that answers health probes, nor under gevent's patches. The parent is at the other end of a socket, with a JSON value a line:

    parent → here   the `Job`; then an answer to each question: {"ok": true} or {"ok": false, "why": TEXT}
    here → parent   {"ask": "order"}: a new order is about to be made
                    {"ask": "present"}: the answers that are kept with the orders are to be given to the authority
                    {"done": {"names", "suggested", "ask_again"}}, {"renewals": {SERVICE: [suggested, ask_again]}}
                    {"failed": TEXT, "retry_after": seconds or 0}

The order's URL, key and request are on the disk before the authority is asked, and so are the answers to it (`terraster.certs.acme_proof`). So
an order that was interrupted goes on where it was.
"""

from __future__ import annotations

import datetime
import json
import socket
import sys
from collections.abc import Sequence
from typing import Any

import requests
from acme import client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWK, JWKEC

from terraster import __version__
from terraster.certs.acme_job import Job
from terraster.certs.acme_proof import ORDER_SECONDS, Failure, Parent, Proof, deadline
from terraster.certs.acme_store import Store
from terraster.certs.acme_words import words

__all__ = ["obtain", "renewals"]

_REQUEST_SECONDS = 30
_NONCES = 10  # how often a request is sent whose nonce the authority rejects: RFC 8555, section 6.5, lets a client go on

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class _Network(client.ClientNetwork):
    """The requests to an authority. retry_after: what its last refusal said."""

    retry_after = 0.0

    def post(self, *arguments: Any, **more: Any) -> requests.Response:
        for left in range(_NONCES, 0, -1):
            try:
                return self._post_once(*arguments, **more)
            except messages.Error as error:
                if error.code != "badNonce" or left == 1:
                    raise
        raise AssertionError("unreachable")

    def _send_request(self, method: str, url: str, *arguments: Any, **more: Any) -> requests.Response:
        response = super()._send_request(method, url, *arguments, **more)
        if response.status_code in (429, 503):
            after = client.ClientV2.retry_after(response, 0) - datetime.datetime.now()
            self.retry_after = max(after.total_seconds(), 0.0)
        return response


def obtain(job: Job, parent: Parent) -> dict[str, Any]:
    """Have a certificate issued, and keep it. Returns what is known of it: ``names``, and `_suggestion`. Raises `Failure`."""
    store = Store(job.folder)
    network = _network(job, store)
    try:
        acme = client.ClientV2(client.ClientV2.get_directory(job.directory, network), network)
        _sign_in(acme, job, store)
        proof = Proof(job, store, parent)
        try:
            order = _order(acme, job, proof, parent)
        except messages.Error as error:
            if error.code != "accountDoesNotExist":
                raise
            store.keep_account({**store.account(), "uri": ""})  # the authority has lost it, as those for tests do when they restart
            network.account = None
            _sign_in(acme, job, store)
            order = _order(acme, job, proof, parent)
        try:
            if order.body.status == messages.STATUS_PENDING:
                order = proof.prove(acme, order)
        finally:
            proof.remove_records()
        order = _finish(acme, order)
        store.keep_certificate(job.service, order.fullchain_pem.strip().encode() + b"\n" + proof.values["key"].encode())
        store.forget_order(job.service)
        return {"names": list(job.names), **_suggestion(acme, order.fullchain_pem.encode())}
    except Failure:
        raise
    except Exception as error:
        raise Failure(words(error, job, ORDER_SECONDS), network.retry_after) from error


def renewals(job: Job) -> dict[str, dict[str, float]]:
    """When the authority wants the certificates of ``job.services`` to be renewed (RFC 9773). Raises `Failure`."""
    store = Store(job.folder)
    network = _network(job, store)
    try:
        acme = client.ClientV2(client.ClientV2.get_directory(job.directory, network), network)
        return {service: _suggestion(acme, octets) for service in job.services if (octets := store.certificate(service))}
    except Exception as error:
        raise Failure(words(error, job, ORDER_SECONDS), network.retry_after) from error


def _suggestion(acme: client.ClientV2, chain: bytes) -> dict[str, float]:
    """``suggested``: when to renew, 0.0 = the authority does not say; ``ask_again``: when to ask for it again. An authority that cannot say
    it now costs no certificate."""
    try:
        at, again = acme.renewal_time(chain)
    except (errors.Error, requests.RequestException, ValueError) as error:
        again = getattr(error, "retry_after", datetime.datetime.now() + datetime.timedelta(hours=6))
        return {"ask_again": again.timestamp()}
    return {"suggested": at.timestamp() if at is not None else 0.0, "ask_again": again.timestamp()}


# The account.


def _network(job: Job, store: Store) -> _Network:
    """Raises `Failure` if the account cannot be read or kept."""
    try:
        account = store.account()
        try:
            key = JWK.from_json(account["key"])
        except (KeyError, JoseError):
            key = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
            if job.names:
                store.keep_account({"key": key.to_json(), "uri": ""})
    except OSError as error:
        raise Failure(words(error, job, ORDER_SECONDS)) from error
    network = _Network(key, alg=ES256, user_agent=f"terraster/{__version__}", timeout=_REQUEST_SECONDS)
    if job.ca_file:
        network.verify_ssl = job.ca_file  # type: ignore[assignment]  # it is handed on to `requests`, which takes a file
    return network


def _sign_in(acme: client.ClientV2, job: Job, store: Store) -> None:
    """Register, unless that was done before."""
    account = store.account()
    if account.get("uri"):
        body = messages.Registration.from_data(email=account.get("email") or None)
        known = messages.RegistrationResource(body=body, uri=account["uri"])
        acme.net.account = known
        if account.get("email", "") != job.email:
            acme.update_registration(known, messages.Registration.from_data(email=job.email or None))
            store.keep_account({**account, "email": job.email})
        return
    binding = None
    if job.eab_kid:
        try:
            binding = messages.ExternalAccountBinding.from_data(
                acme.net.key.public_key(),  # type: ignore[union-attr]
                job.eab_kid,
                job.eab_key,
                acme.directory,
            )
        except (ValueError, JoseError) as error:
            raise Failure("`acme.eab.hmac_key` is not what an authority hands out (base64url)") from error
    elif acme.external_account_required():
        raise Failure("the authority wants an external account: set `acme.eab` with the `kid` and `hmac_key` that it gave you")
    wish = messages.NewRegistration.from_data(
        email=job.email or None, external_account_binding=binding, terms_of_service_agreed=True
    )
    try:
        uri = acme.new_account(wish).uri
    except errors.ConflictError as known_already:
        uri = known_already.location
        acme.net.account = messages.RegistrationResource(body=messages.Registration(), uri=uri)
    store.keep_account({**account, "uri": uri, "email": job.email})


# The order.


def _order(acme: client.ClientV2, job: Job, proof: Proof, parent: Parent) -> messages.OrderResource:
    """The order of before, if it was interrupted and still is good for something, else a new one."""
    kept = proof.values
    order: messages.OrderResource | None = None
    if kept.get("names") == list(job.names) and kept.get("url"):
        try:
            order = _read_order(acme, kept["url"], kept["csr"].encode())
        except messages.Error as error:
            if error.code == "accountDoesNotExist":
                raise
        if order is not None and order.body.status != messages.STATUS_INVALID and not _is_dead(order):
            return order
    proof.remove_records()
    parent.order()
    key = _new_key(job.key_type)
    request = _request(key, job.names)
    proof.values = {}
    proof.keep(
        names=list(job.names),
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        csr=request.decode(),
    )
    order = acme.new_order(request)
    proof.keep(url=order.uri)
    return order


def _is_dead(order: messages.OrderResource) -> bool:
    """True if a name of a pending order can no longer be proved."""
    good = (messages.STATUS_PENDING, messages.STATUS_VALID)
    return order.body.status == messages.STATUS_PENDING and any(one.body.status not in good for one in order.authorizations)


def _read_order(acme: client.ClientV2, url: str, request: bytes) -> messages.OrderResource:
    body = messages.Order.from_json(_get(acme, url))
    found = [
        messages.AuthorizationResource(body=messages.Authorization.from_json(_get(acme, one)), uri=one)
        for one in body.authorizations or ()
    ]
    return messages.OrderResource(body=body, uri=url, authorizations=found, csr_pem=request)


def _get(acme: client.ClientV2, url: str) -> Any:
    return acme.net.post(url, None, new_nonce_url=acme.directory["newNonce"]).json()


def _new_key(kind: str) -> Key:
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    return ec.generate_private_key(ec.SECP384R1() if kind == "ec384" else ec.SECP256R1())


def _request(key: Key, names: Sequence[str]) -> bytes:
    wanted = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(wanted, False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _finish(acme: client.ClientV2, order: messages.OrderResource) -> messages.OrderResource:
    if order.body.status in (messages.STATUS_PENDING, messages.STATUS_READY):
        return acme.finalize_order(order, deadline())
    return acme.poll_finalization(order, deadline())


# The process.


class _Pipe(Parent):
    """The parent at the other end of a socket."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(True)
        self._file = sock.makefile("rw", encoding="utf-8", newline="\n")

    def read(self) -> Any:
        """Raises EOFError if the parent has gone."""
        line = self._file.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    def say(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value) + "\n")
        self._file.flush()

    def _ask(self, value: dict[str, Any]) -> None:
        self.say(value)
        answer = self.read()
        if not answer["ok"]:
            raise Failure(answer["why"])

    def order(self) -> None:
        self._ask({"ask": "order"})

    def present(self) -> None:
        self._ask({"ask": "present"})


def main(descriptor: int) -> int:
    """Do one job. 0: it is done or its failure was reported; 1: the parent has gone."""
    pipe = _Pipe(descriptor)
    pipe.ending.listen()
    try:
        values = pipe.read()
        job = Job(**{**values, "names": tuple(values["names"]), "services": tuple(values["services"])})
        try:
            pipe.say({"done": obtain(job, pipe)} if job.names else {"renewals": renewals(job)})
        except Failure as error:
            pipe.say({"failed": str(error), "retry_after": error.retry_after})
    except (EOFError, OSError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
