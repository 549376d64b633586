"""`terrasterctl reload --dry-run` and `terrasterctl diff`: what a reload would do, and how the files differ from what runs."""

from __future__ import annotations

from typing import Any

from ..harness.terraster_process import service
from .test_edits import edited, named
from .test_json import said

__all__ = ["edited"]


def test_a_reload_is_tried_and_nothing_happens(edited: Any, backend: Any) -> None:
    one, two = named(backend, "one", "two")
    proxy = edited(service(one.url, two.url))
    before = proxy.status()
    proxy.write(service(one.url))
    dry = proxy.ctl("reload", "--dry-run")
    assert dry.returncode == 0, dry
    would, touch, last = dry.stdout.splitlines()
    assert would == f"would be: ~ service site: - backend {two.url}" and last == "nothing was changed"
    assert touch.startswith(f"it would touch {two.url} of site/: 0 open requests, ")
    document = said(proxy, "reload", "reload", "--dry-run")
    assert document["dry_run"] and [one["url"] for one in document["touches"]] == [two.url]
    proxy.write(service(one.url), algorithm="nonsense")
    refused = proxy.ctl("reload", "--dry-run")
    assert refused.returncode == 1 and refused.stdout == "", refused
    assert "a reload would be refused" in refused.stderr and "nonsense" in refused.stderr
    after = proxy.status()
    assert [after[key] for key in ("generation", "reloads", "reload_failures")] == [
        before[key] for key in ("generation", "reloads", "reload_failures")
    ]
    proxy.write(service(one.url, two.url))
    assert proxy.ctl("reload", "--dry-run").stdout == "nothing to reload: the configuration is what runs already\n"
