"""The code that a chapter teaches, taken from the chapter itself.

A lesson that derives a formula must not be tested by a copy of it: the copy would stay right while
the lesson drifts. So a chapter marks the cells that define what it teaches with the tag `teaches`,
and a test gets those definitions with :func:`taught_namespace`.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def taught_namespace(chapter: str, folder: Path = NOTEBOOKS) -> dict[str, Any]:
    """Execute a chapter's cells tagged `teaches`, in order, and return the names they define.

    Cells tagged `teaches` may only define functions and classes, and may use nothing but each other
    and the names ``torch``, ``np``, ``nn``, ``F`` and ``math``, which every namespace holds. So a
    test needs neither the chapter's data nor its run, and the definitions cannot lean on a variable
    that happens to be there in the notebook.

    Args:
        chapter: name of the notebook without its suffix, such as ``"02_autograd"``.
        folder: where the notebooks are.

    Raises:
        FileNotFoundError: there is no such chapter.
        ValueError: no cell is tagged `teaches`, or one does more than define functions and classes.
    """
    nb = nbformat.read(folder / f"{chapter}.ipynb", as_version=4)
    namespace: dict[str, Any] = {"torch": torch, "np": np, "nn": nn, "F": F, "math": math}
    found = False
    for number, cell in enumerate(nb.cells, 1):
        if cell.cell_type != "code" or "teaches" not in cell.metadata.get("tags", []):
            continue
        found = True
        name = f"{chapter}.ipynb, cell {number}"
        tree = ast.parse(cell.source, filename=name)
        others = [n for n in tree.body if not isinstance(n, ast.FunctionDef | ast.ClassDef)]
        if others:
            raise ValueError(
                f"{name} is tagged `teaches`, so it must only define functions and classes, "
                f"but its line {others[0].lineno} does something else."
            )
        exec(compile(tree, name, "exec"), namespace)
    if not found:
        raise ValueError(f"{chapter} has no cell tagged `teaches`.")
    return namespace
