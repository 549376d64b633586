"""The `.pxd` files beside modules: a compiled class has the fields that its `.py` declares, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import terraster

ROOT = Path(terraster.__file__).parent
TYPED = sorted(path for path in ROOT.rglob("*.pxd") if path.with_suffix(".py").exists() and not path.with_suffix(".pyx").exists())

CLASS = re.compile(r"^cdef class (\w+)", re.MULTILINE)
TYPE = r"(?:unsigned long long\[::1\]|unsigned long long|long long|\w+)"
FIELD = re.compile(rf"^    cdef (?!.*\()(?:public |readonly )?{TYPE} (.+)$", re.MULTILINE)


def slots(path: Path) -> dict[str, set[str]]:
    """The names in `__slots__`, by class."""
    found: dict[str, set[str]] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "__slots__":
                    found[node.name] = set(ast.literal_eval(statement.value))
    return found


@pytest.mark.parametrize("path", TYPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_typed_class_has_the_fields_of_its_slots(path: Path) -> None:
    """A field that only one of the two has would work at one speed and not at the other."""
    named = slots(path.with_suffix(".py"))
    pieces = CLASS.split(path.read_text())
    for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
        body = re.split(r"^\S", text.partition("\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        fields = {field.strip() for line in FIELD.findall(body) for field in line.split(",")}
        if name in named:
            assert fields - {"__weakref__"} == named[name] - {"__weakref__"}, name
