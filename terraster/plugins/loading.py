"""The code of a plugin → its classes, and what they say about themselves.

This runs foreign code: only in a worker, in the process that checks plugins (`terraster.plugins.checker`), or in `terraster plugin test`.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from types import CodeType, ModuleType
from typing import Any

from pydantic import BaseModel

from ..config.plugin import MOST_COUNTERS, OUR_KEYS

__all__ = [
    "HOOKS",
    "SPELLINGS",
    "PluginError",
    "Described",
    "compile_plugin",
    "class_in",
    "classes_in",
    "arose_in",
    "described",
    "module_of",
    "place_of",
]

HOOKS = ("on_request", "on_upstream", "on_response", "on_error", "on_log", "on_request_body", "on_response_body")
"""The hooks of a plugin. The first five are those of `terraster.filters.contract`."""

SPELLINGS = {"process_request": "on_request", "process_response": "on_response"}
"""Other names of hooks."""

_ARGUMENTS = {
    "on_request": 1,
    "on_upstream": 2,
    "on_response": 2,
    "on_error": 2,
    "on_log": 2,
    "on_request_body": 2,
    "on_response_body": 3,
    "setup": 1,
    "cleanup": 0,
}
_LONGEST_NAME = 64
_LONGEST_TEXT = 500
_BODY_SIZE = 65536
_LARGEST_BODY = 16 << 20
_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


class PluginError(Exception):
    """A plugin that cannot be used. line, column: in its file, 0: not known"""

    def __init__(self, words: str, line: int = 0, column: int = 0) -> None:
        super().__init__(words)
        self.words, self.line, self.column = words, line, column


@dataclass(frozen=True, slots=True)
class Described:
    """The facts that a class states about itself. model: its `Settings`, None: it has none"""

    name: str
    cls: str
    about: str
    hooks: tuple[str, ...]
    priority: int
    request_body: int
    response_body: int
    counters: tuple[tuple[str, str], ...]
    model: type[BaseModel] | None
    line: int


def module_of(file: str, octets: bytes) -> ModuleType:
    """The module of a file of a plugin. Runs it. Raises `PluginError`, with the line, for whatever is wrong with it."""
    digest = hashlib.sha256(octets).hexdigest()[:16]
    name = f"terraster_plugin_{digest}_{hashlib.sha256(file.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
    module = ModuleType(name)
    module.__file__ = file
    code = compile_plugin(file, octets)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses and pydantic look for it
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit, GeneratorExit) as error:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise PluginError(f"cannot be loaded: {_words(error)}", *_position_of(error, file)) from error
    return module


def compile_plugin(file: str, octets: bytes) -> CodeType:
    """The code of a file. Does not run it. Raises `PluginError`."""
    try:
        return compile(octets, file, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise PluginError(f"is not valid Python: {error.msg}", error.lineno or 0, max(error.offset or 0, 0)) from error
    except (ValueError, LookupError, RecursionError, MemoryError, OverflowError) as error:
        raise PluginError(f"is not valid Python: {error or type(error).__name__}") from error


def package_class(entry: str) -> type:
    """The class of an entry point, MODULE:NAME. Raises `PluginError`."""
    name, _, attribute = entry.partition(":")
    try:
        found: Any = importlib.import_module(name)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
        raise PluginError(f"cannot be loaded: {_words(error)}") from error
    if not isinstance(found, type):
        raise PluginError(f"{entry} is not a class")
    return found


def classes_in(module: ModuleType) -> list[type]:
    """The plugins of a module: its classes with a `name` and a hook. Raises `PluginError` if there is none."""
    own = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    found = [one for one in dict.fromkeys(own) if "name" in vars(one) and _hooks(one)]
    if not found:
        raise PluginError(f"has no class with a `name` and a hook, one of {', '.join((*SPELLINGS, *HOOKS))}")
    return found


def class_in(module: ModuleType, cls: str) -> type:
    """One plugin of a module. Raises `PluginError`."""
    for one in classes_in(module):
        if one.__qualname__ == cls:
            return one
    raise PluginError(f"has no class {cls}")


def described(cls: type, name: str | None = None) -> Described:
    """The facts that a class states about itself. name: that of its entry point, which its `name` has to be. Raises `PluginError`."""
    line = _line(cls)
    try:
        return _described(cls, name, line)
    except PluginError as error:
        raise PluginError(error.words, error.line or line) from None
    except Exception as error:  # a class can do anything when it is asked
        raise PluginError(f"cannot be used: {_words(error)}", line) from error


def _described(cls: type, name: str | None, line: int) -> Described:
    called = getattr(cls, "name", None)
    if not isinstance(called, str) or not called or not set(called) <= _NAME or called[0].isdigit():
        raise PluginError(f"class {cls.__qualname__} needs a `name` of small letters, digits and `_`, not {called!r}")
    if len(called) > _LONGEST_NAME:
        raise PluginError(f"the `name` of class {cls.__qualname__} may have {_LONGEST_NAME} letters, not {len(called)}")
    if name is not None and called != name:
        raise PluginError(f"the entry point is called {name}, and the `name` of its class {called}")
    priority = getattr(cls, "priority", 0)
    if type(priority) is not int or not -(1 << 31) < priority < 1 << 31:
        raise PluginError(f"`priority` of {called} must be a whole number")
    hooks = dict(_hooks(cls))
    if not hooks:
        raise PluginError(f"class {cls.__qualname__} has no hook, one of {', '.join((*SPELLINGS, *HOOKS))}")
    for hook, function in (*hooks.items(), *_more(cls)):
        _check_arguments(called, hook, function)
    init = vars(cls).get("__init__")
    made = getattr(init, "__code__", None)
    if made is not None and made.co_argcount - len(getattr(init, "__defaults__", None) or ()) > 1:
        raise PluginError(
            f"class {cls.__qualname__} is made without arguments: its `__init__` must take none beside self", made.co_firstlineno
        )
    sizes = [_size(cls, called, hook, key) if hook in hooks else 0 for hook, key in _SIZES]
    doc = " ".join((cls.__doc__ if isinstance(cls.__doc__, str) else "").split("\n\n")[0].split())
    return Described(
        name=called,
        cls=cls.__qualname__,
        about=doc[:_LONGEST_TEXT],
        hooks=tuple(hook for hook in HOOKS if hook in hooks),
        priority=priority,
        request_body=sizes[0],
        response_body=sizes[1],
        counters=_counters(cls, called),
        model=_model(cls, called),
        line=line,
    )


_SIZES = (("on_request_body", "request_body_size"), ("on_response_body", "response_body_size"))


def _hooks(cls: type) -> Iterator[tuple[str, Any]]:
    for hook in HOOKS:
        for spelling in (hook, *(other for other, meant in SPELLINGS.items() if meant == hook)):
            if callable(function := getattr(cls, spelling, None)):
                yield hook, function
                break


def _more(cls: type) -> Iterator[tuple[str, Any]]:
    for name in ("setup", "cleanup"):
        if (function := getattr(cls, name, None)) is not None:
            if not callable(function):
                raise PluginError(f"`{name}` of class {cls.__qualname__} must be a function")
            yield name, function


def _check_arguments(plugin: str, hook: str, function: Any) -> None:
    """Raises `PluginError` if a hook cannot be called with its arguments."""
    code = getattr(function, "__code__", None)
    if code is None or hasattr(function, "__wrapped__"):
        return  # a builtin or something decorated: the first call shows it
    line = code.co_firstlineno
    if code.co_flags & 0x2A0:  # a generator or a coroutine
        raise PluginError(f"`{hook}` of {plugin} must be a plain function: no `async` and no `yield`", line)
    wanted = _ARGUMENTS[hook] + 1
    most = float("inf") if code.co_flags & 0x04 else code.co_argcount
    least = code.co_argcount - len(function.__defaults__ or ())
    named = set(code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]) - set(function.__kwdefaults__ or ())
    if not least <= wanted <= most or named:
        takes = {1: "(self)", 2: "(self, request)", 3: "(self, request, …)", 4: "(self, request, response, body)"}[wanted]
        raise PluginError(f"`{hook}` of {plugin} must take {wanted - 1} argument{'s' * (wanted != 2)} beside self: {takes}", line)


def _size(cls: type, plugin: str, hook: str, key: str) -> int:
    size = getattr(cls, key, _BODY_SIZE)
    if type(size) is not int or not 0 < size <= _LARGEST_BODY:
        raise PluginError(f"`{key}` of {plugin} must be a number of octets from 1 to {_LARGEST_BODY}")
    return size


def _counters(cls: type, plugin: str) -> tuple[tuple[str, str], ...]:
    counters = getattr(cls, "counters", {})
    if not isinstance(counters, dict) or len(counters) > MOST_COUNTERS:
        raise PluginError(f"`counters` of {plugin} must be a mapping of at most {MOST_COUNTERS} names to descriptions")
    for name, text in counters.items():
        if not isinstance(name, str) or not name or not set(name) <= _NAME or not isinstance(text, str):
            raise PluginError(f"`counters` of {plugin} must map names of small letters, digits and `_` to descriptions")
    return tuple((name, " ".join(text.split())[:_LONGEST_TEXT]) for name, text in counters.items())


def _model(cls: type, plugin: str) -> type[BaseModel] | None:
    model = getattr(cls, "Settings", None)
    if model is None:
        return None
    if not isinstance(model, type) or not issubclass(model, BaseModel):
        raise PluginError(f"`Settings` of {plugin} must be a pydantic model")
    for name, field in model.model_fields.items():
        for key in (name, field.alias):
            if key in OUR_KEYS:
                raise PluginError(f"`Settings` of {plugin} has `{key}`, which is a key that every plugin has")
    return model


def _line(cls: type) -> int:
    lines = [code.co_firstlineno for one in vars(cls).values() if (code := getattr(one, "__code__", None)) is not None]
    return int(vars(cls).get("__firstlineno__", 0)) or min(lines, default=0)


def place_of(error: BaseException, file: str) -> int:
    """The line of a file where an error arose; 0 if it arose elsewhere."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def arose_in(error: BaseException, file: str) -> bool:
    """True if the code of a file raised an error, and nothing that it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename == file


def _position_of(error: BaseException, file: str) -> tuple[int, int]:
    """The line and the column of a file where an error arose; 0, 0 if it arose elsewhere."""
    found = 0, 0
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename == file:
            _, _, column, _ = next(islice(code.co_positions(), trace.tb_lasti // 2, None))
            found = trace.tb_lineno, 0 if column is None else column + 1
        trace = trace.tb_next
    return found


def _words(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:
        text = ""
    return f"{type(error).__name__}: {' '.join(text.split())[:300]}" if text else type(error).__name__
