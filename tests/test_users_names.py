"""Names of users: what a log has of a login that failed."""

from __future__ import annotations

import pytest

from terraster.users.names import tried


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("bob", "bob"),
        (" Bob ", "bob"),
        ("ci-deploy.prod@example.com", "ci-deploy.prod@example.com"),
        ("alice2", "alice2"),
        ("Alice.Smith", "alice.smith"),
        ("", "***"),
        ("Vq7!tGw2#pLz", "***"),
        ("Summer2026x", "***"),
        ("Hunter2-hunter2", "***"),
        ("p\u00e4ssword", "***"),
        ("x" * 65, "***"),
        ("' OR 1=1 --", "***"),
    ],
)
def test_the_name_that_was_tried_is_kept_unless_it_may_be_a_password(written: str, kept: str) -> None:
    assert tried(written) == kept
