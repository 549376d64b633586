"""The answers to an authority that are kept with the orders under way, for the master: its workers give them from the first second on, whatever
interrupted the order."""

from __future__ import annotations

import ssl

from terraster.config.snapshot import Snapshot

from .acme_store import Store, folder
from .challenges import Answers, Challenges

__all__ = ["kept_answers"]


def kept_answers(snapshot: Snapshot) -> Answers:
    """Those of the configuration's services. Damaged values, which only a foreign hand can have made, are left out. Raises OSError."""
    tokens: dict[str, str] = {}
    certificates: dict[str, str] = {}
    if snapshot.acme is not None:
        services = [service.name for service in snapshot.services if service.tls is not None and service.tls.domains]
        for order in Store(folder(snapshot.state_dir, snapshot.acme.directory)).orders(services):
            for found, kind in ((tokens, "tokens"), (certificates, "certificates")):
                values = order.get(kind)
                found.update(values if isinstance(values, dict) else {})
    return Answers(
        {token: value for token, value in tokens.items() if _can_be_given(Answers({token: value}))},
        {name: pair for name, pair in certificates.items() if _can_be_given(Answers({}, {name: pair}))},
    )


def _can_be_given(answers: Answers) -> bool:
    try:
        Challenges().use(answers)
    except (ssl.SSLError, AttributeError, ValueError):
        return False
    return True
