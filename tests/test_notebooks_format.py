"""The committed chapters and the code have the form that the course promises.

When a chapter is new, or has fewer ignored cells than before, write the counts down with
``python tests/test_notebooks_format.py``.
"""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import utils
from utils import notebooks
from utils.checker import IGNORED, check_notebook
from utils.notebooks import normalise, notebook_text, read_notebook

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / notebooks.CHAPTERS_DIR).glob("[0-9][0-9]_*.ipynb"))
COUNTS = Path(__file__).with_name("ignored_cells.json")
chapters = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def test_there_are_chapters_and_nothing_that_looks_like_one():
    assert CHAPTERS
    numbers = [int(path.stem[:2]) for path in CHAPTERS]
    assert len(set(numbers)) == len(numbers)
    others = set((ROOT / notebooks.CHAPTERS_DIR).glob("*.ipynb")) - set(CHAPTERS)
    assert not others, "only chapters lie in notebooks/ itself"
    assert not list((ROOT / notebooks.CHAPTERS_DIR).glob("*.py")), "it could shadow a package"


@chapters
def test_the_chapter_is_in_order(path):
    problems = check_notebook(path)
    assert not problems, "\n".join(problems)


@chapters
def test_the_chapter_is_stored_as_refresh_stores_it(path):
    expected = notebook_text(normalise(read_notebook(path)))
    assert path.read_text(encoding="utf-8") == expected, "run: make refresh"


# --- cells that no test compares ------------------------------------------------------------------


def ignored_cells():
    """How many cells of each chapter nbval does not compare."""
    return {
        path.stem: sum(
            IGNORED in cell.metadata.get("tags", []) for cell in read_notebook(path).cells
        )
        for path in CHAPTERS
    }


def complaints(counted, allowed):
    """What is wrong with the counted cells, given those that were written down."""
    write_down = "write it down with 'python tests/test_notebooks_format.py'"
    for name in sorted({*counted, *allowed}):
        count, limit = counted.get(name), allowed.get(name)
        if limit is None:
            yield f"{name} is new with {count} ignored cells: {write_down}"
        elif count is None:
            yield f"{name} is gone: {write_down}"
        elif count < limit:
            yield f"{name} has {count} ignored cells instead of {limit}, well done: {write_down}"
        elif count > limit:
            yield f"{name} has {count} ignored cells, {limit} are allowed: compare their outputs again"


def lowered(counted, allowed):
    """The counts to write down: they may only shrink."""
    return {name: min(count, allowed.get(name, count)) for name, count in sorted(counted.items())}


def test_the_ignored_cells_become_fewer():
    allowed = json.loads(COUNTS.read_text(encoding="utf-8"))
    found = list(complaints(ignored_cells(), allowed))
    assert not found, "\n".join(found)


def test_more_ignored_cells_are_noticed_and_never_written_down():
    allowed = {"01_a": 3, "02_b": 3, "03_c": 3, "05_e": 1}
    counted = {"01_a": 3, "02_b": 2, "03_c": 4, "04_d": 5}
    named = [text.split(":")[0] for text in complaints(counted, allowed)]
    assert named == [
        "02_b has 2 ignored cells instead of 3, well done",
        "03_c has 4 ignored cells, 3 are allowed",
        "04_d is new with 5 ignored cells",
        "05_e is gone",
    ]
    assert lowered(counted, allowed) == {"01_a": 3, "02_b": 2, "03_c": 3, "04_d": 5}


# --- the code -------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=" ".join)
def test_ruff_has_nothing_to_say(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--no-cache", "--quiet", "."],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_and_the_interpreter_are_those_of_this_repository():
    assert Path(utils.__file__).resolve() == ROOT / "utils" / "__init__.py"
    assert Path(sys.executable).absolute().is_relative_to(Path(sys.prefix).absolute())


def imported_modules(tree):
    """The modules of ``utils`` that a piece of code imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = "utils" if node.level else node.module or ""
            if module == "utils":
                yield from (alias.name for alias in node.names)
            elif module.startswith("utils."):
                yield module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1] for a in node.names if a.name.startswith("utils."))


def listed_modules():
    """The modules in the order of the list in ``utils/__init__.py``."""
    return re.findall(r"^``(\w+)``", utils.__doc__, re.MULTILINE)


def wrong_imports(order, name, tree):
    """The modules that ``name`` imports though they are not above it in the list."""
    above = order[: order.index(name) + 1]  # the modules of a package may import each other
    return sorted({module for module in imported_modules(tree) if module not in above})


def files_of(name):
    """The files of a module: one, or those of a package."""
    folder = ROOT / "utils" / name
    return sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def test_every_module_is_listed():
    modules = {path.stem for path in (ROOT / "utils").glob("*.py")} - {"__init__"}
    modules |= {path.parent.name for path in (ROOT / "utils").glob("*/__init__.py")}
    assert sorted(listed_modules()) == sorted(modules)


@pytest.mark.parametrize("name", listed_modules())
def test_imports_point_upward(name):
    for path in files_of(name):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert wrong_imports(listed_modules(), name, tree) == []


@pytest.mark.parametrize(
    "source",
    [
        "from utils.run import main",
        "import utils.run",
        "from utils import run",
        "from .run import main",
        "def f():\n    from utils.run import main",
    ],
)
def test_an_import_that_points_downward_is_noticed(source):
    order = ["runtime", "metrics", "run"]
    expected = ["main"] if source.startswith("from .") else ["run"]
    assert wrong_imports(order, "metrics", ast.parse(source)) == expected
    assert wrong_imports(order, "metrics", ast.parse("from utils.runtime import x")) == []


if __name__ == "__main__":
    before = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {}
    text = json.dumps(lowered(ignored_cells(), before), indent=1)
    COUNTS.write_text(text + "\n", encoding="utf-8")
