"""The process that loads plugins to learn what they are, so that code which loops, exits or crashes harms nobody.

    stdin   one JSON object: {"plugins": [{"file", "octets", "entry", "name"}, …], "settings": [[number, class, keys], …]}
    stdout  lines of JSON: ["began", number] before each plugin is loaded, ["loaded", number, [description, …]] or
            ["failed", number, words, line, column] after it; ["settings", number, [[path, words], …]]; ["done"]

Output of plugins goes to stderr. `terraster.plugins.finder` starts it.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from ..config.sentences import sentence, suggestion
from .loading import Described, PluginError, classes_in, described, module_of, package_class

__all__ = ["main", "wrong"]

_LARGEST_SCHEMA = 256 << 10


def main() -> int:
    """Load what is asked for. The exit code is 0."""
    out = os.dup(1)
    os.dup2(2, 1)
    os.register_at_fork(after_in_child=lambda: os.close(out))  # nobody waits for a child that a plugin forks
    me = os.getpid()
    asked = json.load(sys.stdin)
    known: dict[tuple[int, str], Described] = {}

    def say(*words: Any) -> None:
        left = json.dumps(words).encode() + b"\n"
        if os.getpid() != me:
            os._exit(0)  # a child that a plugin forked, and that came back
        while left:
            left = left[os.write(out, left) :]

    for number, one in enumerate(asked["plugins"]):
        say("began", number)
        try:
            if one["entry"]:
                found = [described(package_class(one["entry"]), one["name"])]
            else:
                found = [described(cls) for cls in classes_in(module_of(one["file"], base64.b64decode(one["octets"])))]
            told = [_told(each) for each in found]
        except PluginError as error:
            say("failed", number, error.words, error.line, error.column)
            continue
        except BaseException as error:  # SystemExit too: whatever it raises is what is wrong with it
            say("failed", number, f"cannot be loaded: {type(error).__name__}: {error}", 0, 0)
            continue
        known.update({(number, each.cls): each for each in found})
        say("loaded", number, told)
    for number, (plugin, cls, keys) in enumerate(asked["settings"]):
        say("began", plugin)
        described_ = known.get((plugin, cls))
        try:
            say("settings", number, [] if described_ is None else wrong(described_.model, keys))
        except BaseException as error:
            say("settings", number, [[[], f"cannot check its keys: {type(error).__name__}: {error}"]])
    say("done")
    os._exit(0)  # a plugin may have started threads


def _told(one: Described) -> dict[str, Any]:
    schema = "" if one.model is None else _schema(one.name, one.model, one.line)
    return {
        "name": one.name,
        "cls": one.cls,
        "about": one.about,
        "hooks": one.hooks,
        "priority": one.priority,
        "request_body": one.request_body,
        "response_body": one.response_body,
        "counters": one.counters,
        "schema": schema,
        "line": one.line,
    }


def _schema(name: str, model: type[BaseModel], line: int) -> str:
    try:
        schema = json.dumps(model.model_json_schema(), sort_keys=True)
    except Exception as error:  # a type that JSON has not
        raise PluginError(f"`Settings` of {name} has no JSON Schema: {type(error).__name__}: {error}", line) from error
    if len(schema) > _LARGEST_SCHEMA:
        raise PluginError(f"the JSON Schema of `Settings` of {name} is larger than {_LARGEST_SCHEMA >> 10} KiB", line)
    return schema


def wrong(model: type[BaseModel] | None, keys: Mapping[str, Any]) -> list[tuple[list[str | int], str]]:
    """The faults of the keys of a plugin: paths, and words. Unknown keys are wrong unless the model allows them."""
    known = {} if model is None else {field.alias or name: field for name, field in model.model_fields.items()}
    found: list[tuple[list[str | int], str]] = []
    if model is None or model.model_config.get("extra") != "allow":
        if model is not None and model.model_config.get("populate_by_name"):
            known |= model.model_fields
        for key in keys:
            if key not in known:
                found.append(([key], f"unknown key `{key}`{suggestion(key, known)}"))
    if model is None:
        return found
    try:
        model.model_validate({key: value for key, value in keys.items() if [key] not in [path for path, _ in found]})
    except ValidationError as error:
        for details in error.errors(include_url=False, include_input=False):
            path = list(details["loc"])
            if details["type"] == "missing":
                found.append((path[:-1], f"`{path[-1]}` is missing"))
            elif details["type"] == "extra_forbidden":
                found.append((path, f"unknown key `{path[-1]}`"))
            else:
                key = next((step for step in reversed(path) if isinstance(step, str)), "the plugin")
                found.append((path, f"`{key}` {sentence(details)}"))
    return found


if __name__ == "__main__":
    sys.exit(main())
