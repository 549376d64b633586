"""The parts of the manual that are written from the code: `make docs` writes them, and a test asks whether they are written.

Such a part stands between two comments. The first names it:

    <!-- counters of filters: `make docs` writes this table -->
    …
    <!-- end -->
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from terraster.admin.metrics import of_filter
from terraster.filters.contract import counted
from terraster.filters.registry import KINDS

__all__ = ["DOCS", "PAGES", "written"]

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("metrics.md",)
_PART = re.compile(r"(<!-- (.*?): `make docs` writes this table -->\n).*?(<!-- end -->)", re.DOTALL)


def _counters() -> str:
    rows = ["| name | type | labels | meaning |", "|---|---|---|---|"]
    for one in map(of_filter, counted(KINDS)):
        rows.append(f"| `{one.name}` | {one.type} | {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |")
    return "\n".join(rows) + "\n"


_WRITERS: dict[str, Callable[[], str]] = {"counters of filters": _counters}


def written(page: str) -> str:
    """A page of the manual with its parts written anew. KeyError for a part that nothing here writes."""
    return _PART.sub(lambda match: f"{match[1]}{_WRITERS[match[2]]()}{match[3]}", (DOCS / page).read_text())


def main() -> int:
    for page in PAGES:
        text = written(page)
        if text != (DOCS / page).read_text():
            (DOCS / page).write_text(text)
            print(f"docs/{page}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
