"""Pydantic's errors in plain words, with the path of the key that each is about.

One table from pydantic's error types to sentences. Words follow the key: "`port` must be a whole number". An unknown key is
compared with the keys of its own mapping first, then with those of every mapping, because most mistakes are a letter or a level
of indentation.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .language import Language
from .sentences import sentence, suggestion
from .settings import LocationSettings, ServiceSettings
from .settings.base import keys_of, submodel
from .settings.kinds import LOCATION, SERVICE, TOP

__all__ = ["Beside", "Complaint", "complaints", "suggestion"]

Complaint = tuple[tuple[str | int, ...], bool, str]
"""The path of what is complained about, whether its key (not its value) is the place, and the words."""


class Beside(str):
    """Words about two places of one service: `{there}` is where the other one is written. there: its path, from the service on"""

    __slots__ = ("there",)

    there: tuple[str | int, ...]

    def __new__(cls, words: str, there: tuple[str | int, ...]) -> Beside:
        made = super().__new__(cls, words)
        made.there = there
        return made


_PLACES = {TOP: "", SERVICE: "services[]", LOCATION: "services[].locations[]"}

_SLIP = 0.8
"""How much alike two words are of which one is a slip for the other."""

_MEANT: dict[tuple[type[BaseModel], str], str] = {
    (LocationSettings, "algorithm"): "did you mean `lb_policy`?",
    (LocationSettings, "max_connections"): "`max_connections` belongs in `backends[]`",
    (ServiceSettings, "algorithm"): "`algorithm` belongs at the top; in `locations[]` it is `lb_policy`",
    (ServiceSettings, "backends"): "`backends` belongs in `services[].locations[]`",
}
"""Hints for keys where the nearest spelling or another level would suggest the wrong one."""


def complaints(
    error: ValidationError, known: Language, top: type[BaseModel], prefix: tuple[str | int, ...] = ()
) -> Iterator[Complaint]:
    """Every complaint of a failed validation of `top`, a model of the language `known`; `prefix` is put before each path."""
    seen = set()
    for details in error.errors(include_url=False, include_input=False):
        complaint = _complaint(details, known, top, prefix)
        if complaint not in seen:
            seen.add(complaint)
            yield complaint


def _complaint(details: ErrorDetails, known: Language, top: type[BaseModel], prefix: tuple[str | int, ...]) -> Complaint:
    kind, path = details["type"], details["loc"]
    name = _name(path, prefix)
    if kind == "extra_forbidden":
        owner = _model_at(top, path[:-1])
        return (*prefix, *path), True, f"unknown key `{path[-1]}`{_hint(known, owner, str(path[-1]), (*prefix, *path[:-1]))}"
    if kind == "missing":
        return (*prefix, *path[:-1]), False, f"`{path[-1]}` is missing"
    return (*prefix, *path), path[-1:] == ("[key]",), f"`{name}` {sentence(details)}"


def _hint(known: Language, owner: type[BaseModel] | None, word: str, path: tuple[str | int, ...]) -> str:
    """A hint at the key that was probably meant by one at `path` that `owner` does not have."""
    if owner is None:
        return _belongs(word, _elsewhere(known, word))
    for (model, key), meant in _MEANT.items():
        if key == word and issubclass(owner, model):
            return f"; {meant}"
    if word in known.kinds and owner in (known.service, known.location):
        entry = f"`middleware: [{{{word}: …}}]`"
        level = SERVICE if owner is known.service else LOCATION
        return f"; did you mean {entry}?" if level in known.kinds[word].levels else f"; in a service it is {entry}"
    if word in known.kinds and known.kinds[word].shorthand:
        return _belongs(word, [place for level, place in _PLACES.items() if level in known.kinds[word].shorthand])
    return (
        _belongs(word, _around(known, word, path))
        or suggestion(word, keys_of(owner), _SLIP)
        or _belongs(word, _elsewhere(known, word))
        or suggestion(word, keys_of(owner))
    )


def _belongs(word: str, places: list[str]) -> str:
    """Where a key belongs. places: dotted paths of mappings, "" for the top."""
    named = [f"in `{place}`" if place else "at the top" for place in places]
    if not named:
        return ""
    return f"; `{word}` belongs {', '.join(named[:-1])}{' or ' if len(named) > 1 else ''}{named[-1]}"


def _around(known: Language, word: str, path: tuple[str | int, ...]) -> list[str]:
    """The mappings around `path` that have a key of this name, the nearest first."""
    found: list[str] = []
    model: type[BaseModel] | None = known.settings
    place = how = ""
    for step in path:
        if how:
            place, how = f"{place}{how}", ""
            continue
        if model is None or not isinstance(step, str):
            break
        keys = keys_of(model)
        if word in keys:
            found.insert(0, place)
        if step not in keys:
            break
        model, how = submodel(keys[step].annotation)
        place = f"{place}.{step}".lstrip(".")
    return found


def _name(path: tuple[str | int, ...], prefix: tuple[str | int, ...]) -> str:
    """The key as an operator thinks of it: the last one, with the number of the list item if it is one."""
    names = [step for step in (*prefix, *path) if step != "[key]"]
    if not names:
        return "the file"
    last = names[-1]
    if isinstance(last, int):
        return f"{names[-2]}[{last}]" if len(names) > 1 else f"[{last}]"
    return last


def _model_at(top: type[BaseModel], path: tuple[str | int, ...]) -> type[BaseModel] | None:
    model: type[BaseModel] | None = top
    how = ""
    for step in path:
        if how:
            how = ""
        elif model is not None and isinstance(step, str) and step in (known := keys_of(model)):
            model, how = submodel(known[step].annotation)
        else:
            return None
    return model


def _elsewhere(known: Language, word: str) -> list[str]:
    """The shallowest mapping that has a key of this name, whatever is around it; none if there is no such key."""
    queue: list[tuple[str, type[BaseModel]]] = [("", known.settings)]
    seen = set()
    while queue:
        path, model = queue.pop(0)
        if model in seen:
            continue
        seen.add(model)
        for key, field in keys_of(model).items():
            if key == word:
                return [path]
            child, how = submodel(field.annotation)
            if child is not None:
                queue.append((f"{path}.{key}{how}".lstrip("."), child))
    return []
