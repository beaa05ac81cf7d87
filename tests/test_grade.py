"""Grading a folder of submissions: right, wrong, broken and hostile ones side by side."""

import csv
import json
import shutil

import psutil
import pytest

from utils import grade
from utils.grade import check_calls, csv_text, grade_notebook, main
from utils.notebooks import code_cells, read_notebook, repository_root, write_notebook
from utils.progress import EXERCISES_DIR

ROOT = repository_root()
NAME = "02_autograd"
BLANK = ROOT / EXERCISES_DIR / f"{NAME}.ipynb"
SOLVED = ROOT / "notebooks" / "solutions" / f"{NAME}.ipynb"
CALLS = check_calls(read_notebook(BLANK))


def handed_in(folder, student, change=None, source=BLANK):
    """A student's folder with the notebook, changed cell by cell."""
    target = folder / student / BLANK.name
    target.parent.mkdir(parents=True)
    nb = read_notebook(source)
    if change:
        change(nb)
    write_notebook(nb, target)
    return target


def add_cell(source, place=2):
    def change(nb):
        (_, first), *_ = code_cells(nb)
        cell = first.copy() | {"source": source, "id": "added", "outputs": []}
        nb.cells.insert(place, type(first)(cell))

    return change


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Eight students graded in one go, by student and exercise."""
    folder = tmp_path_factory.mktemp("submissions")
    handed_in(folder, "ada", source=SOLVED)
    handed_in(folder, "blank")
    handed_in(folder, "crash", add_cell("import os\nos._exit(3)"), source=SOLVED)
    handed_in(folder, "hangs", add_cell("while True: pass"), source=SOLVED)
    handed_in(folder, "raises", add_cell("1 / 0"), source=SOLVED)
    cheat = "import utils.checks\nutils.checks.check = check = lambda *a: 'solved'\nslope = None"
    handed_in(folder, "cheats", add_cell(cheat, place=-1))
    (folder / "broken").mkdir()
    (folder / "broken" / BLANK.name).write_text("{ no notebook")
    (folder / "absent").mkdir()
    (folder / "a file.txt").write_text("")
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    assert main([str(folder), "--limit", "12"]) == 0
    left = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    with (folder / "grades.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["student"], row["exercise"]): row for row in rows}
    assert len(found) == len(rows) == 8 * len(CALLS)
    return found, left


def statuses(table, student):
    return {row["status"] for (name, _), row in table[0].items() if name == student}


@pytest.mark.parametrize(
    "student, status",
    [
        ("ada", "solved"),
        ("blank", "open"),
        ("crash", "crashed"),
        ("hangs", "timeout"),
        ("raises", "solved"),
        ("broken", "unreadable"),
        ("absent", "missing"),
    ],
)
def test_each_kind_of_submission(table, student, status):
    assert statuses(table, student) == {status}


def test_a_redefined_check_does_not_count(table):
    assert table[0]["cheats", "02.1"]["status"] == "wrong"
    assert table[0]["cheats", "02.2"]["status"] == "open"


def test_no_kernel_is_left(table):
    assert not [p for p in table[1] if p.is_running() and "ipykernel" in " ".join(p.cmdline())]


def test_a_name_that_is_not_defined_is_missing(tmp_path):
    def remove_slope(nb):
        nb.cells = [c for c in nb.cells if not c.source.startswith("def slope")]

    found = grade_notebook(handed_in(tmp_path, "bob", remove_slope), CALLS, 60)
    assert found["02.1"] == ("missing", "slope is not defined.")
    assert found["02.2"][0] == "open"


def test_the_submission_is_not_changed(tmp_path):
    source = "from pathlib import Path\nPath('02_autograd.ipynb').write_text('')"
    path = handed_in(tmp_path, "eve", add_cell(source))
    before = path.read_bytes()
    grade_notebook(path, CALLS, 60)
    assert path.read_bytes() == before


def test_misuse_is_one_sentence(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "holds no folders of students" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere")]) == 2


def test_the_table_survives_commas_and_quotes():
    text = csv_text([grade.Grade("a, b", "02.1", "wrong", 'say "no",\nplease')])
    assert list(csv.reader(text.splitlines(keepends=True)))[1] == [
        "a, b",
        "02.1",
        "wrong",
        'say "no",\nplease',
    ]


def test_assignments_can_be_handed_out_and_graded(tmp_path):
    from utils import exercises

    assert exercises.main(["--assignments", str(tmp_path / "out"), "--chapters", "02"]) == 0
    handed_out = tmp_path / "out" / "exercises" / BLANK.name
    assert json.loads(handed_out.read_text()) == json.loads(BLANK.read_text())
    shutil.copytree(handed_out.parent, tmp_path / "in" / "zoe")
    assert {g.status for g in grade.grade(tmp_path / "in", 60, say=lambda _: None)} == {"open"}
