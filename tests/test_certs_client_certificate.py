"""The names of certificates in texts for header fields: RFC 4514."""

from __future__ import annotations

import pytest

from terraster.certs.client_certificate import distinguished_name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ([[("countryName", "DE")], [("organizationName", "A")], [("commonName", "me")]], "CN=me,O=A,C=DE"),
        ([[("commonName", "a"), ("userId", "7")]], "CN=a+UID=7"),
        ([[("emailAddress", "a@b")]], "emailAddress=a@b"),
        ([[("commonName", 'a,b+c"d\\e<f>;')]], 'CN=a\\,b\\+c\\"d\\\\e\\<f\\>\\;'),
        ([[("commonName", " a ")]], "CN=\\ a\\ "),
        ([[("commonName", "#a#")]], "CN=\\#a#"),
        ([[("commonName", "a\r\nX-Admin: 1\0\x7f")]], "CN=a\\0D\\0AX-Admin: 1\\00\\7F"),
        ([[("commonName", "Jürgen")]], "CN=Jürgen"),
        ([], ""),
    ],
)
def test_distinguished_names(name: list[list[tuple[str, str]]], text: str) -> None:
    assert distinguished_name(tuple(tuple(part) for part in name)) == text
