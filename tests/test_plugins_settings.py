"""The keys of plugins: checked with their places, inherited by levels, in the schema, and secret in what is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from terraster.cli.main import main
from terraster.config.diff import diff
from terraster.config.language import taken
from terraster.config.loader import Loader
from terraster.config.plugins import directory
from terraster.config.resolve import resolve
from terraster.config.settings.plugins import PluginUse
from terraster.config.snapshot import Snapshot
from terraster.errors import ConfigError
from terraster.filters.registry import KINDS
from terraster.plugins.finder import Finder

CODE = '''
from pydantic import BaseModel, Field, SecretStr


class Geo:
    """Knows where clients are."""

    name = "geo"

    class Settings(BaseModel):
        country: str = Field("de", description="The country.")
        level: int = Field(1, ge=1, le=9)
        name: str = "none"
        own: dict[str, list[int]] = {}
        key: SecretStr = SecretStr("")

    def on_request(self, request):
        pass


class Strict:
    name = "strict"

    class Settings(BaseModel):
        needed: str

    def on_request(self, request):
        pass
'''
BACKEND = "backends: [http://10.0.0.1:80]\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("configuration")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "code.py").write_text(CODE)
    return folder


@pytest.fixture(scope="module")
def loader() -> Loader:
    return Loader({}, kinds=KINDS, plugins=Finder(taken(KINDS)))


def load(loader: Loader, folder: Path, text: str, number: int = 1) -> Snapshot:
    file = folder / "terraster.yaml"
    file.write_text(text)
    return resolve(loader.load(str(file)), number, environ={})


OFF = "middleware:\n  - strict: off\n"


@pytest.mark.parametrize(
    "text, problems",
    [
        ("middleware:\n  - strict: {needed: 5}\n  - geo: {level: ten}\n", ["3:18: `level` must be a whole number"]),
        ("middleware:\n  - strict: {needed: 5}\n  - geo: {level: 10}\n", ["3:18: `level` must be at most 9"]),
        ("middleware:\n  - strict: {needed: 5}\n  - geo: {contry: fr}\n", ["3:11: unknown key `contry`; did you mean `country`?"]),
        ("middleware:\n  - strict: {needed: 5}\n  - geo: {own: {a: [1, x]}}\n", ["3:24: `a` must be a whole number"]),
        ("middleware:\n  - strict: {needed: 5}\n  - geo: {timeout: never}\n", None),
        ("middleware:\n  - strict: {}\n", ["2:5: `strict` `needed` is missing"]),
        (OFF + "  - goe: {}\n", None),
    ],
)
def test_what_is_wrong_is_said_with_its_place(loader: Loader, folder: Path, text: str, problems: list[str] | None) -> None:
    with pytest.raises(ConfigError) as error:
        load(loader, folder, text + BACKEND)
    if problems is None:
        assert len(error.value.problems) == 1 and error.value.problems[0].line
    else:
        assert [str(one) for one in error.value.problems] == [f"{folder}/terraster.yaml:{problem}" for problem in problems]


def test_a_plugin_that_is_on_everywhere_needs_its_keys_at_the_top(loader: Loader, folder: Path) -> None:
    with pytest.raises(
        ConfigError,
        match="the plugin `strict`, which is on everywhere, needs an entry at the top, `middleware: .{strict: .…}}.`: `needed` is missing",
    ):
        load(loader, folder, BACKEND)


LOCATION = """
services:
  - {name: a, locations: [{path: /, backends: [http://10.0.0.1:80], middleware: [{none: {word: y}}]}]}
"""
NONE = "names no plugin: neither a file of the directory nor an installed package has one of this name; Terraster runs without it"


@pytest.mark.parametrize(
    "text, place",
    [
        (OFF + "  - none: {required: false, word: x}  # not everywhere\n\n", "3:5"),
        ("'middleware':\n- strict: off\n- none:\n    required: off\n    word: x\n", "3:3"),
        ("middleware: [{strict: off}, {none: {required: no}}]\n", "1:30"),
    ],
)
def test_a_plugin_that_is_not_there_and_need_not_be_is_a_warning(loader: Loader, folder: Path, text: str, place: str) -> None:
    snapshot = load(loader, folder, text + LOCATION)
    assert [str(one) for one in snapshot.warnings] == [f"{folder}/terraster.yaml:{place}: `none` {NONE}"]
    assert "none" not in {plugin.name for plugin in snapshot.plugins}


def uses(snapshot: Snapshot, service: str, path: str) -> dict[str, PluginUse]:
    (one,) = (service_ for service_ in snapshot.services if service_.name == service)
    (place,) = (location for location in one.locations if location.path == path)
    return {settings.name: settings for _, settings in place.filters if isinstance(settings, PluginUse)}


LEVELS = """
middleware:
  - strict: off
  - geo: {country: fr, name: top, own: {a: [1]}, timeout: 20ms}
services:
  - name: a
    middleware: [{geo: {level: 3, on_error: pass}}]
    locations:
      - {path: /, backends: [http://10.0.0.1:80]}
      - {path: /x, backends: [http://10.0.0.1:80], middleware: [{geo: {country: it}}, {strict: {needed: here}}]}
      - {path: /off, backends: [http://10.0.0.1:80], middleware: [{geo: off}]}
  - name: b
    host: b.test
    plugin_disabled: true
    locations: [{path: /, backends: [http://10.0.0.1:80], middleware: [{geo: {country: it}}]}]
"""


def test_levels_change_single_keys(loader: Loader, folder: Path) -> None:
    snapshot = load(loader, folder, LEVELS)
    root, x = uses(snapshot, "a", "/"), uses(snapshot, "a", "/x")
    assert root["geo"].own == {"country": "fr", "level": "3", "name": "top", "own": {"a": ["1"]}}
    assert (root["geo"].timeout, root["geo"].on_error) == (0.02, "pass") and "strict" not in root
    assert x["geo"].own == {**root["geo"].own, "country": "it"} and x["strict"].own == {"needed": "here"}
    assert uses(snapshot, "a", "/off") == {} and uses(snapshot, "b", "/") == {}
    assert [plugin.name for plugin in snapshot.plugins] == ["geo", "strict"]


def test_values_are_no_part_of_what_is_printed(loader: Loader, folder: Path) -> None:
    text = OFF + "  - geo: {key: %s}\n" + BACKEND
    old, new = load(loader, folder, text % "secret-1"), load(loader, folder, text % "secret-2", 2)
    lines = diff(old, new).describe()
    assert len(lines) == 1 and "plugin" in lines[0] and "values" in lines[0]
    assert "secret-" not in "".join(lines) + repr(new.services)


def test_the_schema_has_the_keys(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "terraster.yaml").write_text(BACKEND)
    assert main(["--schema", "--config", str(folder / "terraster.yaml")]) == 0
    schema = json.loads(capsys.readouterr().out)
    judge = Draft202012Validator(schema)
    assert list(judge.iter_errors(yaml.safe_load(LEVELS))) == []
    assert "The country." in json.dumps(schema)
    for wrong in ("middleware: [{geo: {contry: fr}}]", "middleware: [{geo: {timeout: []}}]", "middleware: [{goe: {}}]"):
        assert list(judge.iter_errors(yaml.safe_load(wrong))) != [], wrong


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", ("/etc/x/plugins", False)),
        ("plugin_directory: /a/b\n", ("/a/b", True)),
        ("port: 1\nplugin_directory: ../p\n", ("/etc/p", True)),
        ("'plugin_directory': \"${PLACE}/c\"\n", ("/place/c", True)),
        ("services:\n  - plugin_directory: /a\n", ("/etc/x/plugins", False)),
        ("plugin_directory: [\n", ("/etc/x/plugins", False)),
    ],
)
def test_the_directory(text: str, expected: tuple[str, bool]) -> None:
    assert directory(text, "/etc/x", {"PLACE": "/place"}) == expected
