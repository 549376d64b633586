"""One mail to operators, by SMTP (RFC 5321), encrypted by STARTTLS (RFC 3207) unless the configuration says otherwise.

A password is never sent in clear by accident: only `starttls: off` does that. All waits are those of the hub, and the whole is limited.
"""

from __future__ import annotations

import socket
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING

import gevent

from ..config.snapshot import Alerting
from ..errors import TerrasterError
from ..later import Later

if TYPE_CHECKING:
    import smtplib
else:
    smtplib = Later("smtplib")

__all__ = ["LIMIT", "MailError", "send"]

LIMIT = 60.0
"""Seconds that a mail may take, all together."""

_STEP = 20.0  # seconds for one answer of the server
_WITH_TLS = 465  # RFC 8314, section 3.3: TLS from the first octet on


class MailError(TerrasterError):
    """A mail that could not be sent. The text says why, without the password."""


def send(alerting: Alerting, subject: str, text: str, limit: float = LIMIT) -> None:
    """Send one mail to all receivers. limit: seconds. Raises MailError."""
    message = EmailMessage()
    sender = alerting.sender or f"terraster@{socket.gethostname()}"
    message["From"], message["To"], message["Subject"] = sender, ", ".join(alerting.receivers), " ".join(subject.split())
    message["Date"], message["Message-ID"] = formatdate(), make_msgid("terraster")
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    message.set_content(text)
    place = f"the mail server {alerting.host}:{alerting.port}"
    try:
        with gevent.Timeout(limit, TimeoutError(f"no end within {limit:g} s")):
            refused = _deliver(alerting, sender, message)
    except smtplib.SMTPAuthenticationError as error:
        raise MailError(f"{place} refuses the login of {sender} ({error.smtp_code})") from error
    except smtplib.SMTPNotSupportedError as error:
        raise MailError(f"{place} does not offer {_lacking(error)}") from error
    except smtplib.SMTPRecipientsRefused as error:
        raise MailError(f"{place} refuses {', '.join(error.recipients)}") from error
    except smtplib.SMTPResponseException as error:
        raise MailError(f"{place} answers {error.smtp_code}") from error
    except ssl.SSLCertVerificationError as error:
        raise MailError(f"the certificate of {place} is not valid: {error.verify_message}") from error
    except (smtplib.SMTPException, OSError, ValueError) as error:
        raise MailError(f"{place} cannot be used: {getattr(error, 'strerror', None) or error}") from error
    if refused:
        raise MailError(f"{place} refuses {', '.join(refused)}")


def _deliver(alerting: Alerting, sender: str, message: EmailMessage) -> list[str]:
    """The receivers that were refused, if others were not."""
    if alerting.port == _WITH_TLS and alerting.starttls != "off":
        server: smtplib.SMTP = smtplib.SMTP_SSL(alerting.host, alerting.port, timeout=_STEP, context=_context(alerting))
        secured = True
    else:
        server, secured = smtplib.SMTP(alerting.host, alerting.port, timeout=_STEP), False
    try:
        server.ehlo()
        if not secured and alerting.starttls != "off" and (alerting.starttls == "required" or server.has_extn("starttls")):
            server.starttls(context=_context(alerting))
            server.ehlo()
            secured = True
        if alerting.password:
            if not secured and alerting.starttls != "off":
                raise smtplib.SMTPNotSupportedError("STARTTLS")
            server.login(sender, alerting.password)
        return list(server.send_message(message, sender, list(alerting.receivers)))
    finally:
        server.close()


def _context(alerting: Alerting) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=alerting.ca_file or None)
    if alerting.starttls == "optional" and not alerting.password:  # the mail would be sent in clear as well
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _lacking(error: smtplib.SMTPNotSupportedError) -> str:
    return "a login" if "AUTH" in str(error) else "STARTTLS (see `starttls`)"
