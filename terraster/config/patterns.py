"""Regular expressions that operators write. RE2 matches them, in a time that grows with the text alone: no pattern and no path of a client
can hold a worker, as `(a+)+$` does in a matcher that tries again. So there are no backreferences and no looking ahead or behind.

The library is loaded when the first pattern is compiled: it takes 9 ms and 3 MiB.
"""

from __future__ import annotations

from typing import Any

__all__ = ["MEMORY", "Pattern", "compile_pattern"]

MEMORY = 1 << 20
"""Octets that a compiled pattern may take."""

Pattern = Any
"""A compiled pattern, with the calls of `re.Pattern`."""


def compile_pattern(written: str, *, folds_case: bool = False) -> Pattern:
    """A pattern for octets. ValueError, with words that follow "`key` …", for one that RE2 does not take. folds_case: True if upper and lower
    case are the same to it."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    options.case_sensitive = not folds_case
    try:
        return re2.compile(written.encode("utf-8"), options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise ValueError(f"is not a regular expression of RE2: {words[:200]}") from None
