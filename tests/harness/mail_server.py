"""A mail server for tests (aiosmtpd): it keeps what it is sent, with or without STARTTLS and a login."""

from __future__ import annotations

import ssl
from email import message_from_bytes
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from .authority import Authority
from .ports import free_port

__all__ = ["MailServer"]


class MailServer:
    """A server on a free port of 127.0.0.1, as a context manager.

    certificate: it offers STARTTLS with a certificate for "localhost" of this authority; files are written to ``folder``
    password:    what a login must have; "" = no login is offered
    refuses:     the answer to each mail, "" = it takes them
    """

    def __init__(
        self, certificate: Authority | None = None, folder: Path | None = None, password: str = "", refuses: str = ""
    ) -> None:
        self.port = free_port()
        self.mails: list[Message] = []
        self.secured: list[bool] = []
        self.logins: list[str] = []
        self.refuses = refuses
        self._password = password
        context = None
        if certificate is not None and folder is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate.issue("localhost").write(folder, "mail"))
        options: dict[str, Any] = {"tls_context": context}
        if password:
            options |= {"authenticator": self._login, "auth_require_tls": context is not None, "auth_required": True}
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port, **options)

    def __enter__(self) -> MailServer:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    def _login(self, server: SMTP, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        return AuthResult(success=data.password.decode() == self._password, handled=False)

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        if self.refuses:
            return self.refuses
        self.secured.append(session.ssl is not None)
        self.mails.append(message_from_bytes(envelope.content, policy=default))
        return "250 taken"
