"""Backends that speak TLS: nginx and `openssl s_server`, with the certificates of a test's own authority."""

from __future__ import annotations

from pathlib import Path

from .nginx import Nginx
from .ports import free_port
from .program import Program, accepts

__all__ = ["ECHO", "secure_nginx", "s_server"]

ECHO = 'location / { return 200 "$ssl_protocol $ssl_session_reused $ssl_server_name $ssl_client_verify $ssl_client_s_dn"; }'
"""Answers that say what a connection's handshake was."""


def secure_nginx(folder: Path, certificate: Path, key: Path, more: str = "", port: int = 0) -> tuple[Nginx, int]:
    """An nginx that answers as `ECHO` says, and its TLS port. more: directives of its server. It is not entered yet."""
    port = port or free_port()
    tls = f"listen 127.0.0.1:{port} ssl backlog=4096; ssl_certificate {certificate}; ssl_certificate_key {key};"
    return Nginx(folder, f"{tls} {more} {ECHO}"), port


def s_server(folder: Path, certificate: Path, key: Path, *options: str) -> tuple[Program, int]:
    """An `openssl s_server` that answers with a page, and its port. It is not entered yet."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", str(certificate), "-cert_chain", str(certificate)]
    program = Program([*command, "-key", str(key), "-www", *options], folder / "output")
    program.wait_ready(lambda: accepts(("127.0.0.1", port)))
    return program, port
