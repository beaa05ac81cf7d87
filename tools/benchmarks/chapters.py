"""Run the definitions of a chapter without the rest of it.

The benchmarks train with the chapters' own code. They take it from the committed notebooks, so that
what is measured cannot drift from what is taught.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from utils.notebooks import code_cells, find_chapters, read_notebook
from utils.runtime import CourseError


class Statement(NamedTuple):
    """One statement at the top level of a chapter."""

    code: str
    binds: frozenset[str]
    """The names that it defines."""
    needs: frozenset[str]
    """The names that it takes from elsewhere, those of its functions' bodies included."""
    deferred: bool
    """True for ``def`` and ``class``: a need may be met further down."""


def define(chapter: str, names: Sequence[str], /, **given: Any) -> SimpleNamespace:
    """Execute the statements that define some names, and those that they depend on.

    Args:
        chapter: number of the chapter, such as ``"06"``.
        names: what is wanted.
        given: values for names that the chapter must not define itself, such as ``device``, or a
            function that has to be watched.

    Returns:
        Everything that was defined, as attributes.

    Raises:
        CourseError: the chapter does not define one of the names.
    """
    namespace: dict[str, Any] = dict(given)
    for statement in select(chapter, names, given):
        exec(compile(statement.code, f"<chapter {chapter}>", "exec"), namespace)
        namespace.update(given)
    return SimpleNamespace(**{k: v for k, v in namespace.items() if k != "__builtins__"})


def select(chapter: str, names: Sequence[str], given: Sequence[str] | dict = ()) -> list[Statement]:
    """Return the statements that :func:`define` would execute, in their order.

    A name means what it means at the place that uses it: the last definition above, or, within a
    function, the first one below when there is none above. For the wanted names it is the first one.

    Raises:
        CourseError: the chapter does not define one of the names.
    """
    statements = _statements(chapter)
    chosen: set[int] = set()

    def choose(name: str, place: int | None) -> None:
        if name in given:
            return
        found = [i for i, statement in enumerate(statements) if name in statement.binds]
        if place is None:
            if not found:
                raise CourseError(f"Chapter {chapter} defines no {name!r} any more.")
            index = found[0]
        else:
            above = [i for i in found if i < place]
            below = [i for i in found if i > place] if statements[place].deferred else []
            if not above and not below:
                return  # a builtin
            index = above[-1] if above else below[0]
        if index not in chosen:
            chosen.add(index)
            for need in sorted(statements[index].needs):
                choose(need, index)

    for name in names:
        choose(name, None)
    return [statements[i] for i in sorted(chosen)]


@cache
def _statements(chapter: str) -> list[Statement]:
    found = []
    for _, cell in code_cells(read_notebook(find_chapters([chapter])[0])):
        for node in ast.parse(cell.source).body:
            for part in _single_imports(node):
                code = ast.unparse(part)
                binds, needs = _names(code)
                deferred = isinstance(part, ast.FunctionDef | ast.ClassDef)
                found.append(Statement(code, binds, needs, deferred))
    return found


def _single_imports(node: ast.stmt) -> list[ast.stmt]:
    """Split an import of several names, so that a benchmark imports only what it needs."""
    if isinstance(node, ast.Import):
        return [ast.Import([alias]) for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [ast.ImportFrom(node.module, [alias], node.level) for alias in node.names]
    return [node]


def _names(code: str) -> tuple[frozenset[str], frozenset[str]]:
    """What a statement binds at the top level, and what it takes from there."""
    top = symtable.symtable(code, "<chapter>", "exec")
    binds = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    needs = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    inner = list(top.get_children())
    while inner:
        table = inner.pop()
        inner += table.get_children()
        needs |= {s.get_name() for s in table.get_symbols() if s.is_global() and s.is_referenced()}
    return frozenset(binds), frozenset(needs)
