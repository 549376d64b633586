"""What a fuzzer takes for new: a step from one line of a module to another that no input made before, as tracing sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["NewLines"]


class NewLines:
    """files: the modules that count."""

    def __init__(self, *files: str) -> None:
        self._files = frozenset(files)
        self._seen: set[tuple[str, int]] = set()
        self._steps: set[tuple[str, int]] = set()
        self._last = 0

    def in_call(self, call: Callable[[], object]) -> bool:
        """True if the call makes a step that no call before it made."""
        self._steps = set()
        self._last = 0
        sys.settrace(self._trace)
        try:
            call()
        finally:
            sys.settrace(None)
        new = not self._steps <= self._seen
        self._seen |= self._steps
        return new

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in self._files:
            return None
        if event in ("line", "return"):
            self._steps.add((f"{code.co_name}:{self._last}", frame.f_lineno))
            self._last = frame.f_lineno
        return self._trace
