"""Destinations that are other programs, as they are written."""

from __future__ import annotations

import pytest

from terraster.config.log_targets import Remote, is_remote, remote


@pytest.mark.parametrize(
    ("written", "expected", "shown"),
    [
        ("syslog:/dev/log", Remote("syslog", "unix", "/dev/log"), "syslog at /dev/log"),
        ("syslog:/dev/log?facility=local7", Remote("syslog", "unix", "/dev/log", facility=23), "syslog at /dev/log"),
        ("syslog+udp://192.0.2.7", Remote("syslog", "udp", "192.0.2.7", 514), "syslog at 192.0.2.7:514"),
        ("syslog+tcp://logs.test:6514/", Remote("syslog", "tcp", "logs.test", 6514), "syslog at logs.test:6514"),
        ("syslog+tcp://[2001:db8::7]:601", Remote("syslog", "tcp", "2001:db8::7", 601), "syslog at [2001:db8::7]:601"),
        ("journald", Remote("journald", "unix", "/run/systemd/journal/socket"), "journald at /run/systemd/journal/socket"),
        ("journald:/run/x", Remote("journald", "unix", "/run/x"), "journald at /run/x"),
    ],
)
def test_forms(written: str, expected: Remote, shown: str) -> None:
    found = remote(written)
    assert found == expected and found.shown() == shown and is_remote(written)


@pytest.mark.parametrize("written", ["-", "/dev/log", "./journald", "syslog", "/var/log/syslog:x", ""])
def test_other_destinations(written: str) -> None:
    assert remote(written) is None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("syslog:dev/log", "must name a socket, as in `syslog:/dev/log`"),
        ("syslog://192.0.2.7", "must name a socket, as in `syslog:/dev/log`"),
        ("syslog+tls://192.0.2.7", "must begin with `syslog:/`, `syslog+udp://` or `syslog+tcp://`"),
        ("syslog+udp://", "must be `syslog+udp://HOST:PORT`"),
        ("syslog+udp://a:99999", "must be `syslog+udp://HOST:PORT`"),
        ("syslog+tcp://a/path", "must be `syslog+tcp://HOST:PORT`"),
        ("syslog:/dev/log?facility=locl0", "has the unknown facility 'locl0'; did you mean `local0`?"),
        ("syslog:/dev/log?tag=x", "has the unknown parameter `tag`; there is `facility`"),
        ("journald:run/x", "must be `journald`, or `journald:` and the absolute path of a socket"),
    ],
)
def test_mistakes(written: str, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace("?", r"\?").replace("+", r"\+")):
        remote(written)
