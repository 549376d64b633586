"""The process that loads plugins to learn what they are (`terraster.plugins.checker`), as the process that starts it sees it."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from typing import Any

import terraster

__all__ = ["run"]

_START = 60.0  # seconds for the process to start, on a busy machine too


def run(asked: dict[str, Any], longest: float) -> tuple[list[list[Any]], tuple[int, str] | None]:
    """Run the process. Returns its lines; and the number of the plugin that ended it, with the reason, or None.

    Other greenlets run meanwhile, where `select` is patched. Raises OSError."""
    root = os.path.dirname(os.path.dirname(terraster.__file__))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH", "")])])}
    environment.pop("NOTIFY_SOCKET", None)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "terraster.plugins.checker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        heard = _converse(process.stdin, process.stdout, json.dumps(asked).encode(), longest)
    finally:
        code = _end(process)
    said = [json.loads(line) for line in heard.splitlines() if line.endswith(b"]")]
    began = next((words[1] for words in reversed(said) if words[0] == "began"), 0)
    if said and said[-1][0] == "done":
        return said, None
    if code is None:
        return said, (began, f"was not loaded within {longest:g} s")
    how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
    return said, (began, f"ended the process that loads it: it {how}")


def _converse(stdin: Any, stdout: Any, message: bytes, longest: float) -> bytes:
    """Send the message and hear the answer, until its end. The time counts anew with each line that comes."""
    for pipe in (stdin, stdout):
        os.set_blocking(pipe.fileno(), False)
    waiting = select.poll()  # `select.select` takes no descriptor above 1023, and a master may have more
    waiting.register(stdout.fileno(), select.POLLIN)
    waiting.register(stdin.fileno(), select.POLLOUT)
    heard = b""
    until = time.monotonic() + longest + _START
    while (left := until - time.monotonic()) > 0:
        ready = {descriptor for descriptor, _ in waiting.poll(left * 1000)}
        if message and stdin.fileno() in ready:
            try:
                sent = os.write(stdin.fileno(), message[:65536])
            except BrokenPipeError:
                sent = len(message)
            message = message[sent:]
            if not message:
                waiting.unregister(stdin.fileno())
                stdin.close()
        if stdout.fileno() in ready:
            more = os.read(stdout.fileno(), 65536)
            if not more:
                break
            heard += more
            until = time.monotonic() + longest
    return heard


def _end(process: subprocess.Popen[bytes]) -> int | None:
    """End the process with all that it started. Its exit code; None if it had to be killed."""
    until = time.monotonic() + 0.5
    while (
        (code := process.poll()) is None and time.monotonic() < until and process.stdout is not None and _has_ended(process.stdout)
    ):
        time.sleep(0.005)
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    except PermissionError:
        process.kill()
    while process.poll() is None:
        time.sleep(0.005)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None and not pipe.closed:
            pipe.close()
    return code


def _has_ended(stdout: Any) -> bool:
    """True if nothing more can come."""
    try:
        return os.read(stdout.fileno(), 1) == b""
    except BlockingIOError:
        return False
