"""What a compiler needs is law on the request path: slotted classes, single inheritance, no closures, lambdas or generators.

In the whole package, a long module says in its docstring why it is not two.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATH = sorted(
    [
        *(ROOT / "terraster" / "phases").glob("*.py"),
        *(ROOT / "terraster" / "net").glob("*.py"),
        *(ROOT / "terraster" / "wire").rglob("*.py"),
        ROOT / "terraster" / "proxy.py",
        ROOT / "terraster" / "exchange.py",
        ROOT / "terraster" / "outcomes.py",
        ROOT / "terraster" / "policy" / "retry.py",
    ]
)

UNSLOTTED = {"DataPlane", "Proxy", "NoRoom", "Overtaken"}
"""One object a worker, and exceptions."""

MOST_PARAMETERS = 6

MOST_LINES = 400
REASON = f"The module is longer than {MOST_LINES} lines because "


def broken_laws(tree: ast.Module) -> list[str]:
    """The laws that a module breaks, each with its line."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names = [ast.unparse(base).partition("[")[0] for base in node.bases]
            real = [name for name in names if name not in ("Protocol", "Generic", "NamedTuple")]
            if len(real) > 1:
                found.append(f"{node.lineno}: class {node.name} has several bases")
            slotted = any(isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "__slots__" for part in node.body)
            slotted = slotted or any("slots=True" in ast.unparse(decorator) for decorator in node.decorator_list)
            if not slotted and node.name not in UNSLOTTED and not {"Protocol", "NamedTuple"} & set(names):
                found.append(f"{node.lineno}: class {node.name} has no __slots__")
        elif isinstance(node, ast.FunctionDef):
            for inner in ast.walk(node):
                if inner is not node and isinstance(inner, ast.FunctionDef):
                    found.append(f"{inner.lineno}: {inner.name} is a closure")
            count = len([argument for argument in node.args.args if argument.arg != "self"])
            if count > MOST_PARAMETERS:
                found.append(f"{node.lineno}: {node.name} has {count} parameters")
        elif isinstance(node, ast.Lambda):
            found.append(f"{node.lineno}: a lambda")
        elif isinstance(node, ast.GeneratorExp | ast.Yield | ast.YieldFrom):
            found.append(f"{node.lineno}: a generator")
    return found


@pytest.mark.parametrize("file", PATH, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_request_path_can_be_compiled(file: Path) -> None:
    assert broken_laws(ast.parse(file.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    pass\n",
        "@dataclass(frozen=True)\nclass A:\n    pass\n",
        "class A(B, C):\n    __slots__ = ()\n",
        "def a():\n    def b(): pass\n",
        "a = lambda: 1\n",
        "a = sum(b for b in c)\n",
        "def a(b, c, d, e, f, g, h): pass\n",
    ],
)
def test_a_broken_law_is_found(source: str) -> None:
    assert broken_laws(ast.parse(source))


def lacks_a_reason(source: str) -> bool:
    """True if a module is long and its docstring does not say why."""
    words = " ".join((ast.get_docstring(ast.parse(source)) or "").split())
    return len(source.splitlines()) > MOST_LINES and REASON not in words


def test_a_long_module_says_why() -> None:
    files = sorted((ROOT / "terraster").rglob("*.py"))
    assert files
    assert [str(file.relative_to(ROOT)) for file in files if lacks_a_reason(file.read_text())] == []


@pytest.mark.parametrize(
    ("source", "lacks"),
    [
        ("a = 1\n" * 400, False),
        ("a = 1\n" * 401, True),
        ('"""What it is."""\n' + "a = 1\n" * 400, True),
        (f'"""What it is.\n\n{REASON}it is.\n"""\n' + "a = 1\n" * 400, False),
        (f"# {REASON}it is.\n" + "a = 1\n" * 400, True),
    ],
)
def test_a_long_module_without_a_reason_is_found(source: str, lacks: bool) -> None:
    assert lacks_a_reason(source) is lacks
