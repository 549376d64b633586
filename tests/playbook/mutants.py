"""Does the playbook notice? Small faults are put into the life of a request, one at a time, and the playbook is played on each.

    .venv/bin/python -m tests.playbook.mutants [--seed N] [--count N] [--only N,N]

Each mutant is a copy of the package with one change: a comparison turned round, a condition negated, a statement left out, a constant or
a branch of an `and`/`or` exchanged. Which ones is drawn by the seed. A mutant that changes nothing anybody could see is no mutant:
those in `EQUIVALENT` are passed over, and another is drawn.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT = 120  # seconds for one mutant; one that takes longer runs in circles, which is noticed

EQUIVALENT: dict[str, str] = {
    "attempt.py: False → True in `trial = False`": "of a plain attempt: its location has no circuit",
    "attempt.py: without `return False`": "nothing is as false",
    "data_plane.py: without `return False`": "nothing is as false",
    "data_plane.py: without `self.wall = 0.0`": "`keep_time` comes before the first request",
    "hedge.py: without `attempt.ended_at = plane.clock()`": "the end of the attempt follows at the same moment, and reads the clock then",
    "proxy.py: without `exchange.status = 499`": "every way out gives a status, but for a greenlet that is killed, and nobody kills these",
    "proxy.py: without `return Attempt(self, exchange, member, fresh)`": "a watched attempt does the same, and looks at more",
}
"""Mutants nobody could notice, without path and line → why."""

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


class Mutant:
    """One change of one file. place: the number of the node in the order of `ast.walk`; change: which of those that can be made to it."""

    def __init__(self, file: Path, place: int, change: int) -> None:
        text = (ROOT / file).read_text()
        tree = ast.parse(text)
        node = list(ast.walk(tree))[place]
        self.file = file
        self.line = getattr(node, "lineno", 0)
        self.what = list(_changes(node))[change]()
        if isinstance(node, ast.Constant):
            self.what += f" in `{text.splitlines()[self.line - 1].strip()}`"
        self.source = ast.unparse(ast.fix_missing_locations(tree))

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"

    @property
    def is_equivalent(self) -> bool:
        """True if nobody could notice it."""
        return f"{self.file.name}: {self.what}" in EQUIVALENT


def places(file: Path) -> list[tuple[Path, int, int]]:
    """All changes that can be made to a file, as `Mutant` takes them."""
    tree = ast.parse((ROOT / file).read_text())
    # constants of the module are bounds and names rather than behaviour, default values and annotations as well
    left_out = {id(node) for one in tree.body if not isinstance(one, (ast.ClassDef, ast.FunctionDef)) for node in ast.walk(one)}
    left_out |= {id(node) for one in ast.walk(tree) if isinstance(one, (ast.arguments, ast.AnnAssign)) for node in ast.walk(one)}
    nodes = enumerate(ast.walk(tree))
    return [
        (file, place, change) for place, node in nodes if id(node) not in left_out for change in range(len(list(_changes(node))))
    ]


def _changes(node: ast.AST) -> Iterator[Callable[[], str]]:
    """Functions that change the node in place and say what they did."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        yield lambda: _turn(node)
    if isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(node.test, (ast.Constant, ast.Compare)):
        yield lambda: _negate(node)
    if isinstance(node, ast.BoolOp):
        yield lambda: _exchange(node)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        yield lambda: _other(node)
    for block in () if isinstance(node, (ast.Module, ast.ClassDef)) else ("body", "orelse", "finalbody"):
        statements = getattr(node, block, None)
        if isinstance(statements, list):
            for at, statement in enumerate(statements):
                if isinstance(statement, _LEFT_OUT) and not _is_docstring(statement):
                    yield lambda statements=statements, at=at: _leave_out(statements, at)


_LEFT_OUT = (ast.Expr, ast.Assign, ast.AugAssign, ast.Return, ast.Delete, ast.Continue, ast.Break, ast.Raise)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _turn(node: ast.Compare) -> str:
    before = ast.unparse(node)
    node.ops = [_TURNED[type(node.ops[0])]()]
    return f"`{before}` → `{ast.unparse(node)}`"


def _negate(node: ast.If | ast.IfExp | ast.While) -> str:
    before = ast.unparse(node.test)
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return f"`if {before}` is negated"


def _exchange(node: ast.BoolOp) -> str:
    before = ast.unparse(node)
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return f"`{before}` → `{ast.unparse(node)}`"


def _other(node: ast.Constant) -> str:
    before = node.value
    node.value = not before if isinstance(before, bool) else before + 1  # type: ignore[operator]
    return f"{before} → {node.value}"


def _leave_out(block: list[ast.stmt], at: int) -> str:
    statement = block[at]
    block[at] = ast.Pass()
    return f"without `{ast.unparse(statement)}`"


def caught(mutant: Mutant) -> str:
    """How the playbook noticed: what failed first; "" if it did not."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(
            ROOT / "terraster", Path(folder) / "terraster", ignore=shutil.ignore_patterns("__pycache__", "*.so", "compiled.*.txt")
        )
        shutil.copytree(
            ROOT / "tests" / "playbook", Path(folder) / "tests" / "playbook", ignore=shutil.ignore_patterns("__pycache__")
        )
        (Path(folder) / "tests" / "__init__.py").touch()
        (Path(folder) / mutant.file).write_text(mutant.source)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "--tb=no",
            "-o",
            "xfail_strict=true",
            "-p",
            "no:cacheprovider",
            "tests/playbook",
        ]
        try:
            run = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": folder},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            return "it runs in circles"
    if run.returncode == 0:
        return ""
    said = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return said[0] if said else run.stdout[-200:]


def main() -> int:
    """Draw, play, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--only", default="", help="numbers of mutants, as they were printed")
    arguments = parser.parse_args()
    files = [Path("terraster/proxy.py"), *sorted(path.relative_to(ROOT) for path in (ROOT / "terraster/phases").glob("*.py"))]
    all_of_them = [place for file in files for place in places(file)]
    drawn = random.Random(arguments.seed).sample(all_of_them, min(len(all_of_them), arguments.count * 2))
    chosen: list[Mutant] = []
    for place in drawn:
        mutant = Mutant(*place)
        if len(chosen) < arguments.count and not mutant.is_equivalent:
            chosen.append(mutant)
    only = {int(number) for number in arguments.only.split(",") if number}
    missed = 0
    for number, mutant in enumerate(chosen, 1):
        if only and number not in only:
            continue
        how = caught(mutant)
        missed += not how
        print(f"{number:3}  {'caught' if how else 'MISSED'}  {mutant}\n             {how}", flush=True)
    print(f"{len(only or chosen) - missed} of {len(only or chosen)} caught; {len(all_of_them)} could have been drawn")
    return 1 if missed * 50 > len(chosen) * 3 else 0


if __name__ == "__main__":
    sys.exit(main())
