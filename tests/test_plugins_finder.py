"""Files of plugins: good ones, and all that can be wrong with one. The code runs in a process of its own, so nothing here can hurt."""

from __future__ import annotations

import os
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from terraster.config.language import taken
from terraster.config.plugin import MOST_COUNTERS, OUR_KEYS
from terraster.config.plugins import Found
from terraster.config.settings.plugins import PluginEntry
from terraster.filters.registry import KINDS
from terraster.plugins.finder import Finder
from terraster.plugins.loading import PluginError, compile_plugin
from terraster.state.cells import SeatPlugin

GOOD = "class A:\n    name = '{}'\n    def on_request(self, request):\n        pass\n"


def test_the_keys_that_every_plugin_has() -> None:
    assert set(PluginEntry.model_fields) == OUR_KEYS
    assert SeatPlugin.MOST_OWN == MOST_COUNTERS


def finder(longest: float = 10.0) -> Finder:
    return Finder(taken(KINDS), longest)


def put(folder: Path, **files: str | bytes) -> None:
    for name, text in files.items():
        octets = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
        (folder / f"{name}.py").write_bytes(octets)


def said(found: Found) -> dict[str, str]:
    """The faults and problems by the name of the file, without the folder."""
    return {
        os.path.basename(one.file): str(one)[len(os.path.dirname(one.file)) + 1 :]
        for one in (*found.faults.values(), *found.problems)
    }


WRONG: dict[str, tuple[str | bytes, str]] = {
    "syntax": ("class A:\n    name = = 1\n", "syntax.py:2:12: the plugin is not valid Python: "),
    "latin": (b"# caf\xe9\n", "latin.py"),
    "nul": (b"a = 1\0\n", "nul.py: the plugin is not valid Python: "),
    "raises": ("a = 1\nb = a / 0\n", "raises.py:2:5: the plugin cannot be loaded: ZeroDivisionError: division by zero"),
    "none": ("class A:\n    pass\n", "none.py: the plugin has no class with a `name` and a hook"),
    "empty": ("", "empty.py: the plugin has no class"),
    "number": (
        "class A:\n    name = 3\n    def on_request(self, r): pass\n",
        "number.py:3:1: the plugin class A needs a `name` of small letters",
    ),
    "capital": (
        "class A:\n    name = 'My-Plugin'\n    def on_request(self, r): pass\n",
        "capital.py:3:1: the plugin class A needs a `name`",
    ),
    "arguments": (
        "class A:\n    name = 'a'\n    def on_response(self, r): pass\n",
        "arguments.py:3:1: the plugin `on_response` of a must take 2 arg",
    ),
    "keyword": (
        "class A:\n    name = 'a'\n    def on_request(self, r, *, k): pass\n",
        "keyword.py:3:1: the plugin `on_request` of a must take 1",
    ),
    "coroutine": (
        "class A:\n    name = 'a'\n    async def on_request(self, r): pass\n",
        "coroutine.py:3:1: the plugin `on_request` of a must be a p",
    ),
    "generator": (
        "class A:\n    name = 'a'\n    def on_request(self, r): yield\n",
        "generator.py:3:1: the plugin `on_request` of a must be a p",
    ),
    "priority": (
        "class A:\n    name = 'a'\n    priority = 'first'\n    def on_request(self, r): pass\n",
        "priority.py:4:1: the plugin `priority` of a",
    ),
    "settings": (
        "class A:\n    name = 'a'\n    Settings = dict\n    def on_request(self, r): pass\n",
        "settings.py:4:1: the plugin `Settings` of a must",
    ),
    "ours": (
        "from pydantic import BaseModel\nclass A:\n    name = 'a'\n    def on_request(self, r): pass\n    class Settings(BaseModel):\n"
        "        timeout: int = 1\n",
        "ours.py:4:1: the plugin `Settings` of a has `timeout`, which is a key that every plugin has",
    ),
    "counters": (
        "class A:\n    name = 'a'\n    counters = {'a b': 'x'}\n    def on_request(self, r): pass\n",
        "counters.py:4:1: the plugin `counters`",
    ),
    "size": (
        "class A:\n    name = 'a'\n    request_body_size = 0\n    def on_request_body(self, r, b): pass\n",
        "size.py:4:1: the plugin `request_b",
    ),
    "exits": ("raise SystemExit(3)\n", "exits.py:1:1: the plugin cannot be loaded: SystemExit: 3"),
    "ends": ("import os\nos._exit(7)\n", "ends.py: the plugin ended the process that loads it: it ended with 7"),
    "crashes": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
        "crashes.py: the plugin ended the process that loads it: it was ended by",
    ),
    "metaclass": (
        "class M(type):\n    def __getattr__(cls, key): raise OSError('no')\nclass A(metaclass=M):\n    name = 'a'\n"
        "    def on_request(self, r): pass\n",
        "metaclass.py",
    ),
    "long": (
        "class A:\n    name = 'a' * 65\n    def on_request(self, r): pass\n",
        "long.py:3:1: the plugin the `name` of class A may have 64",
    ),
    "made": (
        "class A:\n    name = 'a'\n    def __init__(self, x): pass\n    def on_request(self, r): pass\n",
        "made.py:3:1: the plugin class A is made without arguments",
    ),
    "setup": (
        "class A:\n    name = 'a'\n    setup = 5\n    def on_request(self, r): pass\n",
        "setup.py:4:1: the plugin `setup` of class A must",
    ),
    "called": ("def f():\n    return 1 + None\n\n\nf()\n", "called.py:2:12: the plugin cannot be loaded: TypeError"),
    "huge_default": (
        "from pydantic import BaseModel\nclass A:\n    name = 'a'\n    class Settings(BaseModel):\n        a: str = 'x' * 300_000\n"
        "    def on_request(self, r): pass\n",
        "huge_default.py:6:1: the plugin the JSON Schema of `Settings` of a is larger than 256 KiB",
    ),
    "no_schema": (
        "from pydantic import BaseModel\nfrom collections.abc import Callable\nclass A:\n    name = 'a'\n    class Settings(BaseModel):\n"
        "        a: Callable[[], int] = int\n    def on_request(self, r): pass\n",
        "no_schema.py:7:1: the plugin `Settings` of a has no JSON Schema: ",
    ),
    "prints": ("print('[\"loaded\", 0, []]')\n", "prints.py: the plugin has no class"),
}


def test_all_that_can_be_wrong_with_a_file_is_said_with_its_place(tmp_path: Path) -> None:
    put(tmp_path, good=GOOD.format("good"), **{name: text for name, (text, _) in WRONG.items()})
    one = finder()
    found = one.find(str(tmp_path), False)
    told = said(found)
    for name, (_, words) in WRONG.items():
        assert told.pop(f"{name}.py").startswith(words), name
    assert told == {} and list(one.used()) == ["good"]
    assert {kind.name for kind in found.kinds} == {"good", *(set(WRONG) - set())}
    again = one.find(str(tmp_path), False)  # nothing is loaded twice
    assert said(again) == said(found)


def test_a_file_that_starts_others_is_not_waited_for(tmp_path: Path) -> None:
    """Nor does a child that comes back say anything."""
    good = GOOD.format("{}")
    put(
        tmp_path,
        forks="import os, time\nif os.fork() == 0:\n    time.sleep(60)\n" + good.format("forks"),
        twice="import os\nos.fork()\n" + good.format("twice"),
        leads="import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(30)\n    os._exit(0)\n" + good.format("leads"),
        thread="import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n" + good.format("thread"),
    )
    one = finder(25.0)
    began = time.monotonic()
    assert said(one.find(str(tmp_path), False)) == {}
    assert sorted(one.used()) == ["forks", "leads", "thread", "twice"] and time.monotonic() - began < 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_takes_no_code_of_another_user(tmp_path: Path) -> None:
    put(tmp_path, good=GOOD.format("good"), given=GOOD.format("given"))
    os.chown(tmp_path / "given.py", 65534, 65534)
    one = finder()
    given = f"the plugin belongs to the user 65534, who would run code as root: {tmp_path}/given.py"
    assert said(one.find(str(tmp_path), False)) == {"given.py": f"given.py: {given}"} and list(one.used()) == ["good"]
    os.chown(tmp_path, 65534, 65534)
    (problem,) = finder().find(str(tmp_path), False).problems
    assert str(problem).endswith(f"the directory of plugins belongs to the user 65534, who would run code as root: {tmp_path}")


def test_a_process_with_many_descriptors_loads_plugins_too(tmp_path: Path) -> None:
    """A descriptor above 1023 is one that `select` does not take."""
    put(tmp_path, good=GOOD.format("good"))
    one = finder()
    many = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        found = one.find(str(tmp_path), False)
    finally:
        for descriptor in many:
            os.close(descriptor)
    assert said(found) == {}
    assert list(one.used()) == ["good"]


def test_an_import_that_loops_ends_with_its_time(tmp_path: Path) -> None:
    put(tmp_path, good=GOOD.format("good"), loops="while True: pass\n")
    one = finder(0.3)
    assert said(one.find(str(tmp_path), False)) == {"loops.py": "loops.py: the plugin was not loaded within 0.3 s"}
    assert list(one.used()) == ["good"]


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_a_directory_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    put(tmp_path, good=GOOD.format("good"))
    tmp_path.chmod(mode)
    (problem,) = finder().find(str(tmp_path), False).problems
    assert str(problem) == (
        f"{tmp_path}: the directory of plugins can be written by others than its owner and root (mode {mode:o}): {tmp_path}"
    )


@pytest.mark.parametrize("linked", [False, True])
def test_a_directory_that_any_user_can_replace_is_refused(tmp_path: Path, linked: bool) -> None:
    above, folder = tmp_path / "above", tmp_path / "above" / "below" / "plugins"
    folder.mkdir(parents=True)
    put(folder, good=GOOD.format("good"))
    above.chmod(0o777)
    asked = folder
    if linked:
        asked = tmp_path / "plugins"
        asked.symlink_to(folder)
    (problem,) = finder().find(str(asked), False).problems
    assert str(problem) == (
        f"{asked}: the directory of plugins can be replaced by any user, who can write the directory above it (mode 777): {above}"
    )
    above.chmod(0o1777)  # as /tmp: only its owner can rename an entry
    assert finder().find(str(asked), False).problems == []


def test_files_that_are_not_safe_or_not_files_are_refused(tmp_path: Path) -> None:
    folder, open_ = tmp_path / "plugins", tmp_path / "open"
    folder.mkdir()
    open_.mkdir(mode=0o777)
    open_.chmod(0o777)
    put(folder, good=GOOD.format("good"), writable=GOOD.format("writable"), _helper="1 / 0", test_good="1 / 0")
    put(open_, target=GOOD.format("target"))
    (folder / "writable.py").chmod(0o666)
    (folder / "linked.py").symlink_to(open_ / "target.py")
    (folder / "same.py").symlink_to(folder / "good.py")
    (folder / "gone.py").symlink_to(folder / "nothing.py")
    (folder / "ring.py").symlink_to(folder / "ring.py")
    (folder / "folder.py").mkdir()
    os.mkfifo(folder / "pipe.py")
    one = finder()
    told = said(one.find(str(folder), True))
    assert told["writable.py"].startswith("writable.py: the plugin can be written by others than its owner and root (mode 666)")
    assert told["linked.py"].startswith("linked.py: the plugin can be written by others than its owner and root (mode 777)")
    assert told["gone.py"] == "gone.py: the plugin cannot be read: No such file or directory"
    assert told["ring.py"].startswith("ring.py: the plugin cannot be read: Too many levels")
    assert told["folder.py"] == told["pipe.py"].replace("pipe", "folder") == "folder.py: the plugin is not a file"
    assert told["same.py"] == f"same.py: there are two plugins called `good`: the other one is in {folder}/good.py"
    assert len(told) == 7 and list(one.used()) == ["good"]


def test_names_are_free_only_once(tmp_path: Path) -> None:
    two = GOOD.format("two") + GOOD.format("two").replace("class A", "class B")
    put(tmp_path, a=GOOD.format("one"), b=GOOD.format("one"), c=GOOD.format("jwt"), d=two, e=GOOD.format("timeouts"))
    told = said(finder().find(str(tmp_path), False))
    assert told == {
        "b.py": f"b.py: there are two plugins called `one`: the other one is in {tmp_path}/a.py",
        "c.py": "c.py: the plugin cannot be called `jwt`: a filter has this name",
        "d.py": "d.py: there are two plugins called `two`",
        "e.py": "e.py: the plugin cannot be called `timeouts`: a filter has this name",
    }


def test_a_directory_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert finder().find(str(tmp_path / "none"), False).problems == []
    (problem,) = finder().find(str(tmp_path / "none"), True).problems
    assert str(problem) == f"{tmp_path}/none: the directory of plugins cannot be read: No such file or directory"


def test_a_file_that_breaks_stays_what_it_was(tmp_path: Path) -> None:
    put(tmp_path, a=GOOD.format("one"))
    one = finder()
    one.find(str(tmp_path), False)
    before = one.used()["one"]
    put(tmp_path, a="class\n")
    found = one.find(str(tmp_path), False)
    assert [str(warning) for warning in found.warnings] == [
        f"{tmp_path}/a.py:1:6: is not valid Python: invalid syntax; the version that was read before stays in use"
    ]
    assert (
        found.faults == {}
        and one.used()["one"].octets == before.octets
        and one.used()["one"].kept == f"{tmp_path}/a.py:1:6: is not valid Python: invalid syntax"
    )
    put(tmp_path, a=GOOD.format("one"))
    assert one.find(str(tmp_path), False).warnings == [] and one.used()["one"] == before


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.sampled_from([*WRONG]).map(lambda name: as_octets(WRONG[name][0])),
    )
)
@example(b"\xef\xbb\xbfa = 1")
@example(b"# coding: latin-1\nname = '\xe9'")
@example(b"# coding: nonsense\n")
@example(b"(" * 5000)
def test_any_octets_are_a_module_or_a_fault(octets: bytes) -> None:
    """They are compiled here, not run: what code does when it runs is for the process of its own."""
    try:
        compile_plugin("a.py", octets)
    except PluginError as error:
        assert error.words.startswith("is not valid Python") and error.line >= 0 and error.column >= 0


def as_octets(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
