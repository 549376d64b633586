"""Configurations and what they become, side by side: tests/golden/NAME.yaml and NAME.snapshot.

They document the language: what is inherited, what follows from what. `make golden` writes the snapshots anew; what changed is then to
be read in the difference. A snapshot is shown as a tree of the values that are not the default.
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from terraster.config.resolve import resolve
from terraster.config.settings.kinds import FilterSettings

from .configuration import Loader

__all__ = ["NAMES", "shown", "snapshot_file"]

FOLDER = Path(__file__).parents[1] / "golden"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
_MADE = "/made.pem"
_FILES = re.compile(r"(cert_file|key_file|ca_file|crl_file|client_cert|client_key): (?!.?off)[^,}\n]*")


def snapshot_file(name: str) -> Path:
    """Where the snapshot of a configuration is kept."""
    return FOLDER / f"{name}.snapshot"


def shown(name: str) -> str:
    """The snapshot of tests/golden/NAME.yaml. Certificates count as there, and the machine has two cores."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "made.pem").touch()
        text = _FILES.sub(rf"\1: {folder}{_MADE}", (FOLDER / f"{name}.yaml").read_text())
        (Path(folder) / f"{name}.yaml").write_text(text)
        settings = Loader({}).load(f"{folder}/{name}.yaml")
        made = resolve(settings, 1, environ={"RUNTIME_DIRECTORY": "/run/terraster", "STATE_DIRECTORY": "/var/lib/terraster"})
        tree = _tree(made)
        if settings.workers is None:
            tree["workers"] = "as many as there are cores"
        tree["warnings"] = [warning.removeprefix(f"{folder}/") for warning in made.warnings]
        return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=140).replace(f"{folder}/", "")


def _tree(value: Any) -> Any:
    if isinstance(value, FilterSettings):
        return {
            name: _tree(of)
            for name in type(value).model_fields
            if name in value.model_fields_set and (of := getattr(value, name)) != {}
        }
    if is_dataclass(value):
        return {field.name: _tree(of) for field in fields(value) if (of := getattr(value, field.name)) != _default(field)}
    if isinstance(value, tuple) and value and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        if all(isinstance(item[0], str) for item in value):
            return {name: _tree(of) for name, of in value}
        return [str(low) if low == high else f"{low}-{high}" for low, high in value]
    if isinstance(value, tuple):
        return [_tree(item) for item in value]
    if isinstance(value, dict):
        return {key: _tree(of) for key, of in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def main() -> int:
    for name in NAMES:
        text = shown(name)
        if not snapshot_file(name).exists() or snapshot_file(name).read_text() != text:
            snapshot_file(name).write_text(text)
            print(f"tests/golden/{name}.snapshot: written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
