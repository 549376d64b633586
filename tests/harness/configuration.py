"""Configurations as `terraster` loads them: in the language with all kinds of filters.

Each file that is loaded here is also held to the JSON Schema of the language: what the loader takes, the schema accepts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from terraster.config import loader
from terraster.config.language import language
from terraster.config.settings import Settings
from terraster.filters.registry import KINDS

__all__ = ["LANGUAGE", "Loader", "load", "refused_by_schema"]

LANGUAGE = language(KINDS)
SCHEMA = Draft202012Validator(LANGUAGE.schema())
_LARGE = 100_000
"""Octets of a file beyond which it is not held to the schema: that of 10,000 services takes a minute."""


class _Core(yaml.SafeLoader):
    """YAML as an editor reads it: the core schema of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


class _Older(_Core):
    """The same where `on`, `off`, `yes` and `no` are bools, as in YAML 1.1."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


for _loader, _truth in ((_Core, "true|false"), (_Older, "true|false|yes|no|on|off")):
    for _tag, _pattern in (
        ("bool", f"(?i:{_truth})"),
        ("null", r"~|(?i:null)|"),
        ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
        ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"),
        ("merge", "<<"),
    ):
        _loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), None)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return int(node.value, 0 if node.value[:2] in ("0o", "0x") else 10)


_Core.add_constructor("tag:yaml.org,2002:int", _integer)


def _with_text_keys(value: Any) -> Any:
    """The value where a key is text, also `on` in YAML 1.1, and 404. (Editors know which key they look at; those of JSON are text.)"""
    if isinstance(value, list):
        return [_with_text_keys(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        {True: "on", False: "off"}[key] if isinstance(key, bool) else str(key): _with_text_keys(of) for key, of in value.items()
    }


def refused_by_schema(text: str) -> Iterator[str]:
    """What the schema says against a file, in both readings of YAML: none if it accepts it."""
    for reading in (_Core, _Older):
        value: Any = yaml.load(text, reading)  # noqa: S506  (both are SafeLoaders)
        for error in SCHEMA.iter_errors({} if value is None else _with_text_keys(value)):
            yield f"{reading.__name__}: {error.json_path}: {error.message[:300]}"


class Loader(loader.Loader):
    """A Loader with the kinds that Terraster has."""

    def __init__(self, environ: Mapping[str, str] | None = None, pause: Callable[[], None] | None = None) -> None:
        super().__init__(environ, pause, kinds=KINDS)

    def load(
        self, path: str, *, services_dir: str | None = None, api_config: str | None = None, log_configs: Sequence[str] = ()
    ) -> Settings:
        settings = super().load(path, services_dir=services_dir, api_config=api_config, log_configs=log_configs)
        if os.path.getsize(path) < _LARGE:
            with open(path, encoding="utf-8-sig") as file:
                refused = list(refused_by_schema(file.read()))
            assert refused == [], "the loader takes it, and the schema does not"
        return settings


def load(path: str, *, services_dir: str | None = None, api_config: str | None = None, log_configs: Sequence[str] = ()) -> Settings:
    """The settings of these files, with all kinds."""
    return Loader().load(path, services_dir=services_dir, api_config=api_config, log_configs=log_configs)
