"""The logins of a user of `terrasterctl` at remote Terrasters: one file that only this user may read.

`$XDG_CONFIG_HOME/terraster/logins.json` (default: `~/.config`) has for each URL the tokens of a session, or an API token. A file that others
may read is refused. Two commands at once refresh a session one after the other (a lock on a file beside it, of each URL its own), so a
refresh token is used once, and a host that does not answer keeps no command waiting that is for another.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from .control import Refused

__all__ = ["Logins"]


class Logins:
    """The logins, by URL: ``token``, and of a session ``refresh expires name``. environ: of the process"""

    def __init__(self, environ: Mapping[str, str]) -> None:
        home = environ.get("XDG_CONFIG_HOME", "")
        folder = home if os.path.isabs(home) else os.path.join(os.path.expanduser("~"), ".config")
        self._folder = os.path.join(folder, "terraster")
        self.file = os.path.join(self._folder, "logins.json")

    def get(self, url: str) -> dict[str, Any] | None:
        """The login at a URL, None if there is none. Raises Refused."""
        found: dict[str, Any] | None = self._read().get(url)
        return found

    def put(self, url: str, login: dict[str, Any] | None) -> None:
        """Keep a login, or forget it (None). Raises Refused. Called under `alone`."""
        with self._locked("lock"):
            logins = self._read()
            if login is None:
                logins.pop(url, None)
            else:
                logins[url] = login
            self._write(logins)

    def _write(self, logins: dict[str, Any]) -> None:
        try:
            handle, made = tempfile.mkstemp(dir=self._folder)  # 0600
            try:
                with os.fdopen(handle, "w") as stream:
                    json.dump(logins, stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(made, self.file)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(made)
                raise
        except OSError as error:
            raise Refused(f"{self.file} cannot be written: {error.strerror}") from None

    def alone(self, url: str) -> AbstractContextManager[None]:
        """While this holds no other terrasterctl of the user changes the login at a URL. Raises Refused."""
        return self._locked(f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.lock")

    @contextmanager
    def _locked(self, ending: str) -> Iterator[None]:
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            lock = os.open(f"{self.file}.{ending}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise Refused(f"{error.filename}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _read(self) -> dict[str, Any]:
        try:
            handle = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Refused(f"{self.file} cannot be read: {error.strerror}") from None
        with os.fdopen(handle, "rb") as stream:
            about = os.fstat(stream.fileno())
            if about.st_uid != os.geteuid() or stat.S_IMODE(about.st_mode) & 0o077 or not stat.S_ISREG(about.st_mode):
                raise Refused(
                    f"{self.file} is not used: it has tokens, and others may read or write it; chmod 600, or remove it and log in"
                )
            try:
                found = json.load(stream)
            except ValueError:
                found = None
        if not isinstance(found, dict) or not all(
            isinstance(one, dict) and isinstance(one.get("token"), str) for one in found.values()
        ):
            raise Refused(f"{self.file} is damaged; remove it, and log in again")
        return found
