"""The C types of a room agree with its Python: `.pxd` and `.py` name the same classes, attributes, functions and local variables.

Cython finds some of that when it compiles, and this finds it where nobody compiles. A `.py` with a `.pyx` beside it has the same public names.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "terraster"
TYPED = sorted(
    path for path in PACKAGE.rglob("*.pxd") if path.with_suffix(".py").exists() and not path.with_suffix(".pyx").exists()
)
TWINS = sorted(path for path in PACKAGE.rglob("*.pyx") if path.with_suffix(".py").exists())
FUNCTION = re.compile(r"\b(\w+)\((?:[^()]|\([^()]*\))*\)\s*(?:(?:except|noexcept|nogil)\b.*)?$")
OF_C = {"__weakref__"}


@dataclass
class Names:
    """What a class or a module names. `variables`: by function, those that `cython.locals` types."""

    base: str = ""
    attributes: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    variables: dict[str, set[str]] = field(default_factory=dict)


def declared(text: str) -> tuple[Names, dict[str, Names]]:
    """What a `.pxd` declares: in the module, and in each class."""
    text = re.sub(r'"""(?:.|\n)*?"""|#.*', "", text)
    while (joined := re.sub(r"\(([^()\n]*)\n\s*", r"(\1 ", text)) != text:  # a declaration of several lines is one
        text = joined
    module, classes = Names(), {}
    at, foreign, types = module, False, ""
    for line in filter(str.strip, text.splitlines()):
        if not line.startswith((" ", "\t", "@")):
            foreign = bool(re.match(r"cdef (extern|enum|struct|inline)", line))
            at = module
            if made := re.match(r"cdef (?:public )?class (\w+)(?:\((\w+)\))?", line):
                at = classes[made[1]] = Names(base=made[2] or "")
                continue
        word = line.strip()
        if word.startswith("@cython.locals"):
            types = word
        elif not foreign and word.startswith(("cdef ", "cpdef ")):
            if made := FUNCTION.search(word):
                at.functions.add(made[1])
                at.variables[made[1]] = set(re.findall(r"(\w+)\s*=", types))
            else:
                plain = re.sub(r"\[[^]]*\]", "", word.partition("=")[0])
                at.attributes |= {one.split()[-1].lstrip("*") for one in plain.split(",")}
            types = ""
    return module, classes


def inherited(name: str, classes: dict[str, Names]) -> set[str]:
    """The attributes of a class and of all that it is made from."""
    found: set[str] = set()
    while name in classes:
        found |= classes[name].attributes
        name = classes[name].base
    return found


def assigned(made: ast.ClassDef) -> set[str]:
    """The attributes that the methods of a class assign to `self`, and its slots. A property with a setter is none."""
    found: set[str] = set()
    for node in ast.walk(made):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__slots__":
            found |= {one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant)}
    return found - functions(made).keys()


def functions(tree: ast.Module | ast.ClassDef) -> dict[str, set[str]]:
    """Each function with its parameters and the names that it assigns."""
    return {
        node.name: {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
        | {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
    }


def disagreements(typed: str, source: str, everywhere: dict[str, Names]) -> list[str]:
    """What a `.pxd` and its `.py` say differently. everywhere: the typed classes of all rooms"""
    module, classes = declared(typed)
    tree = ast.parse(source)
    of_python = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    found = [f"class {name} is only in the .pxd" for name in classes.keys() - of_python.keys()]
    places = [("", module, tree), *((f"{name}.", one, of_python[name]) for name, one in classes.items() if name in of_python)]
    for place, names, node in places:
        written = functions(node)
        found += [f"{place}{name} is only in the .pxd" for name in sorted(names.functions - written.keys())]
        for name, variables in names.variables.items():
            found += [f"{place}{name} has no variable {one}" for one in sorted(variables - written.get(name, variables))]
    for name in classes.keys() & of_python.keys():
        there, typed_here = assigned(of_python[name]), inherited(name, {**everywhere, **classes})
        found += [f"{name}.{one} has no type" for one in sorted(there - typed_here - OF_C)]
        found += [f"{name}.{one} is only in the .pxd" for one in sorted(classes[name].attributes - there - OF_C)]
    return found


@pytest.fixture(scope="module")
def everywhere() -> dict[str, Names]:
    """By name. Two classes of one name count as one with the attributes of both."""
    found: dict[str, Names] = {}
    for path in PACKAGE.rglob("*.pxd"):
        for name, one in declared(path.read_text())[1].items():
            found[name] = Names(one.base, one.attributes | found[name].attributes if name in found else one.attributes)
    return found


@pytest.mark.parametrize("path", TYPED, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_types_and_source_agree(path: Path, everywhere: dict[str, Names]) -> None:
    assert disagreements(path.read_text(), path.with_suffix(".py").read_text(), everywhere) == []


@pytest.mark.parametrize("path", TWINS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_twin_has_every_public_name(path: Path) -> None:
    tree = ast.parse(path.with_suffix(".py").read_text())
    public = next(node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__")
    text = path.read_text()
    missing = [name for name in ast.literal_eval(public) if not re.search(rf"\b{name}\b", text)]
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in ast.literal_eval(public):
            methods = [name for name in functions(node) if not name.startswith("_")]
            missing += [f"{node.name}.{name}" for name in methods if not re.search(rf"\b{name}\b", text)]
    assert not missing


def test_what_a_disagreement_looks_like() -> None:
    typed = """
cdef int _MOST
cdef class Base:
    cdef public dict[str, int] counts
cdef class One(Base):
    cdef public long long number, *old
    cdef object __weakref__
    @cython.locals(
        size=int, gone=list,
    )
    cpdef (int, int) both(self, bytes a, int b=*) except *
    cdef lost(self)
cdef class Two:
    pass
cpdef int free(int a) noexcept
"""
    source = """
class Base:
    __slots__ = ("counts",)
class One(Base):
    __slots__ = ("number", "new", "__weakref__")
    def __init__(self):
        self.number = self.counts = 1
    def both(self, a, b=1):
        size = 2
"""
    assert disagreements(typed, source, {}) == [
        "class Two is only in the .pxd",
        "free is only in the .pxd",
        "One.lost is only in the .pxd",
        "One.both has no variable gone",
        "One.new has no type",
        "One.old is only in the .pxd",
    ]
