"""The exercises: made from the solutions, solvable, and examined by checks that reject wrong answers.

For each exercise the solution must pass, the stub must count as not attempted, typical wrong answers
(``wrong_answers/chNN.py``) must each get their own diagnosis, and code that misbehaves must get one.
"""

import importlib
import json
import re
import sys
import time
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from utils.checks import engine
from utils.checks.engine import exercises_of
from utils.exercises import (
    SOLUTION,
    SOLUTION_ONLY,
    exercise_notebook,
    find_solutions,
    starter_code,
)
from utils.grade import check_calls
from utils.notebooks import (
    code_cells,
    find_chapters,
    headings_of,
    normalise,
    notebook_text,
    read_notebook,
    tags_of,
)
from utils.progress import EXERCISES_DIR
from utils.refresh import execute
from utils.runtime import CourseError

ROOT = Path(__file__).resolve().parents[1]
SOLUTIONS = {path.stem: path for path in find_solutions()}
NUMBERS = [number for name in SOLUTIONS for number in exercises_of(name[:2])]
NAME_OF = {name[:2]: name for name in SOLUTIONS}
chapters = pytest.mark.parametrize("name", SOLUTIONS)
exercises = pytest.mark.parametrize("number", NUMBERS)


# --- the notebooks --------------------------------------------------------------------------------


def test_every_chapter_has_exercises_and_solutions():
    names = [path.stem for path in find_chapters()]
    assert list(SOLUTIONS) == names
    assert sorted(p.stem for p in (ROOT / EXERCISES_DIR).glob("*.ipynb")) == names


@chapters
def test_the_committed_exercises_are_what_the_generator_makes(name):
    made = exercise_notebook(read_notebook(SOLUTIONS[name]), name)
    committed = (ROOT / EXERCISES_DIR / f"{name}.ipynb").read_text(encoding="utf-8")
    assert committed == notebook_text(made), "run: make exercises"


@chapters
def test_the_solutions_are_stored_as_refresh_stores_them(name):
    nb = read_notebook(SOLUTIONS[name])
    assert SOLUTIONS[name].read_text(encoding="utf-8") == notebook_text(normalise(nb))
    counts = [cell.execution_count for _, cell in code_cells(nb)]
    assert counts == list(range(1, len(counts) + 1)), "run: make exercises"
    tags = {tag for cell in nb.cells for tag in tags_of(cell)}
    assert tags <= {SOLUTION, SOLUTION_ONLY, "nbval-ignore-output"}
    shown = [
        output.get("data", {}).get("text/plain", "")
        for _, cell in code_cells(nb)
        if re.search(r"^check\(", cell.source, re.MULTILINE)
        for output in cell.outputs
    ]
    assert shown == [f"✅ {number}: solved." for number in exercises_of(name[:2])]


@chapters
def test_a_chapter_has_four_to_eight_exercises_of_all_kinds(name):
    nb = read_notebook(SOLUTIONS[name])
    headings = [h.text for h in headings_of(nb) if h.level == 2]
    kinds = [re.fullmatch(r"(\d\d\.\d) · .+ \((.+)\)", heading) for heading in headings]
    assert all(kinds), "each heading is like '02.1 · Slopes (warm-up)'"
    assert [match[1] for match in kinds] == list(exercises_of(name[:2])) == list(check_calls(nb))
    assert 4 <= len(kinds) <= 8
    words = [set(match[2].split(", ")) for match in kinds]
    allowed = {"warm-up", "core", "stretch", "real data", "find the bug"}
    assert set.union(*words) == allowed
    assert all(len(w & {"warm-up", "core", "stretch"}) == 1 for w in words)


@chapters
def test_the_chapter_points_to_both(name):
    text = (ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    assert f"](exercises/{name}.ipynb)" in text
    assert f"](solutions/{name}.ipynb)" in text


@chapters
def test_the_exercises_run_headless_unattempted(name):
    nb = read_notebook(ROOT / EXERCISES_DIR / f"{name}.ipynb")
    execute(nb, ROOT / EXERCISES_DIR, timeout=120)
    shown = [
        output["data"]["text/plain"]
        for _, cell in code_cells(nb)
        if re.search(r"^check\(", cell.source, re.MULTILINE)
        for output in cell.outputs
    ]
    assert shown == [f"⬜ {number}: not attempted yet." for number in exercises_of(name[:2])]


# --- the checks of the exercises ------------------------------------------------------------------


class Page:
    """A notebook of solutions in pieces: what is given, and each exercise's code and check."""

    def __init__(self, name):
        self.given, self.solution, self.call = [], {}, {}
        pending, number = [], None
        for cell in read_notebook(SOLUTIONS[name]).cells:
            if cell.cell_type == "markdown":
                heading = re.search(r"^## (\d\d\.\d) · ", cell.source, re.MULTILINE)
                if heading:
                    number, pending = heading[1], []
            elif SOLUTION in tags_of(cell):
                pending.append(cell.source)
                self.solution[number] = list(pending)
            elif re.search(r"^check\(", cell.source, re.MULTILINE):
                self.call[number] = cell.source
            elif SOLUTION_ONLY not in tags_of(cell):
                self.given.append(cell.source)


page = cache(Page)


@cache
def given_namespace(name):
    namespace = {"__name__": "exercise"}
    for source in page(name).given:
        exec(compile(source, f"{name}, given", "exec"), namespace)
    return namespace


def examine(number, *sources):
    """The outcome of an exercise when its cells hold these sources; and the namespace."""
    name = NAME_OF[number[:2]]
    namespace = dict(given_namespace(name))
    torch.manual_seed(0)
    for source in sources:
        exec(compile(source, f"{number}, answer", "exec"), namespace)
    return outcome_of(number, namespace), namespace


def outcome_of(number, namespace):
    return eval(page(NAME_OF[number[:2]]).call[number].strip(), namespace)


def solution_of(number):
    return page(NAME_OF[number[:2]]).solution[number]


def wrong_answers():
    folder = Path(__file__).with_name("wrong_answers")
    sys.path.insert(0, str(folder))
    try:
        for name in (n for n in NAME_OF if (folder / f"ch{n}.py").exists()):
            for number, answers in importlib.import_module(f"ch{name}").WRONG.items():
                yield from ((number, i, *answer) for i, answer in enumerate(answers, 1))
    finally:
        sys.path.remove(str(folder))


WRONG = list(wrong_answers())


@exercises
def test_the_solution_passes_and_the_stub_is_not_attempted(number):
    outcome, _ = examine(number, *solution_of(number))
    assert outcome.status == "solved", outcome
    outcome, _ = examine(number, *(starter_code(source) for source in solution_of(number)))
    assert outcome.status == "open", outcome


@pytest.mark.parametrize(
    "number, source, diagnosis",
    [(number, source, diagnosis) for number, _, source, diagnosis in WRONG],
    ids=[f"{number}-{i}" for number, i, _, _ in WRONG],
)
def test_a_wrong_answer_gets_its_diagnosis(number, source, diagnosis):
    outcome, _ = examine(number, source)
    assert outcome.status == "wrong", outcome
    assert diagnosis in outcome.message


@exercises
def test_each_exercise_has_three_wrong_answers_with_diagnoses_of_their_own(number):
    mine = [(source, diagnosis) for n, _, source, diagnosis in WRONG if n == number]
    assert len(mine) >= 3
    messages = [examine(number, source)[0].message for source, _ in mine]
    assert len(set(messages)) == len(messages), messages


@exercises
def test_the_hints_are_a_ladder(number):
    hints = exercises_of(number[:2])[number].hints
    assert len(hints) >= 2
    assert len(set(hints)) == len(hints)


def solved_callables(number):
    """The functions and classes that the check of an exercise takes, with the solved namespace."""
    _, namespace = examine(number, *solution_of(number))
    arguments = page(NAME_OF[number[:2]]).call[number]
    names = re.search(r'check\("[\d.]+", ([\w, ]+)\)', arguments)[1].split(", ")
    return namespace, [n for n in names if callable(namespace[n])]


def spoilt(function, how):
    """The solution, but its result is spoilt; for a module class the result of its forward."""
    if isinstance(function, type):
        if not issubclass(function, nn.Module):
            return None
        forward = function.forward
        return type(function.__name__, (function,), {"forward": spoilt(forward, how)})

    def wrapper(*arguments, **keywords):
        return how(function(*arguments, **keywords), arguments)

    return wrapper


def _raises(result, arguments):
    raise ZeroDivisionError("deliberate")


def _hangs(result, arguments):
    while True:
        time.sleep(0.001)


def _nan(result, arguments):
    if isinstance(result, tuple | list):
        return type(result)(_nan(r, arguments) for r in result)
    if isinstance(result, torch.Tensor) and result.is_floating_point():
        return result * float("nan")
    return float("nan")


def _shape(result, arguments):
    return result[None] if isinstance(result, torch.Tensor) else torch.zeros(2, 3, 4, 5)


def _tensors(change):
    """Spoil what is a tensor of floats; an answer without one cannot be wrong in this way."""

    def how(result, arguments):
        if isinstance(result, tuple | list):
            return type(result)(how(r, arguments) for r in result)
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            return change(result)
        pytest.skip("no tensor of floats")

    return how


def _mutates(result, arguments):
    for argument in arguments:
        if isinstance(argument, torch.Tensor) and argument.is_floating_point() and argument.numel():
            argument.data.add_(1)
            return result
    pytest.skip("no tensor of floats among the inputs")


SPOILERS = {
    "dtype": _tensors(lambda t: t.detach().to(torch.float16)),
    "device": _tensors(lambda t: t.detach().to("meta")),
    "mutates": _mutates,
    "raises": _raises,
    "hangs": _hangs,
    "nan": _nan,
    "shape": _shape,
    "none": lambda result, _: None,
    "text": lambda result, _: "forty-two",
}


@pytest.mark.parametrize("how", SPOILERS)
@exercises
def test_code_that_misbehaves_gets_a_diagnosis(number, how, monkeypatch):
    if how == "hangs":
        monkeypatch.setattr(engine, "TIME_LIMIT", 0.25)
    namespace, names = solved_callables(number)
    for name in names:
        replaced = spoilt(namespace[name], SPOILERS[how])
        if replaced is None:
            continue
        started = time.monotonic()
        outcome = outcome_of(number, namespace | {name: replaced})
        assert outcome.status == "wrong", f"{name}: {outcome}"
        assert time.monotonic() - started < 5
        assert "the check did not expect" not in outcome.message
        if how == "raises":
            assert "ZeroDivisionError: deliberate" in outcome.message
        if how == "hangs":
            assert "ran longer than" in outcome.message


@exercises
def test_the_checks_do_not_hold_the_solution(number):
    """No longer line of a solution stands in the module that examines it."""
    module = (ROOT / "utils" / "checks" / f"ch{number[:2]}.py").read_text(encoding="utf-8")
    known = {line.strip() for line in module.splitlines()}
    for source in solution_of(number):
        for region in re.findall(r"# BEGIN SOLUTION\n(.*?)# END SOLUTION", source, re.DOTALL):
            lines = [line.strip() for line in region.splitlines() if len(line.strip()) > 30]
            assert not set(lines) & known


def test_every_exercise_has_a_solution_and_wrong_answers():
    solved = [number for name in SOLUTIONS for number in page(name).solution]
    assert solved == NUMBERS
    assert {number for number, *_ in WRONG} == set(NUMBERS)


# --- the generator --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source, expected",
    [
        (
            "def f(x):\n    # BEGIN SOLUTION\n    y = 2 * x\n    return y\n    # END SOLUTION",
            "def f(x):\n    return ...  # your code",
        ),
        (
            "def f(x):\n    # BEGIN SOLUTION\n    y = 2 * x\n    # END SOLUTION\n    return y",
            "def f(x):\n    ...  # your code\n    return y",
        ),
        ("shape = (3, 4)  # SOLUTION", "shape = ...  # your answer"),
        ("a, b = 3, 4  # SOLUTION", "a, b = ..., ...  # your answer"),
    ],
)
def test_starter_code(source, expected):
    assert starter_code(source) == expected


@pytest.mark.parametrize(
    "source, sentence",
    [
        ("x = 1", "marks nothing"),
        ("# BEGIN SOLUTION\nx = 1", "no END SOLUTION after"),
        ("x = 1\n# END SOLUTION", "no BEGIN SOLUTION before"),
        ("# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION", "inside another"),
    ],
)
def test_marks_that_do_not_match_are_refused(source, sentence):
    with pytest.raises(CourseError, match=sentence):
        starter_code(source)


def test_marks_without_the_tag_are_refused():
    nb = read_notebook(next(iter(SOLUTIONS.values())))
    for cell in nb.cells:
        cell.metadata = {}
    with pytest.raises(CourseError, match="has marks, but not the tag"):
        exercise_notebook(nb, "02_autograd")


@chapters
def test_nothing_of_a_solution_is_left_in_the_exercises(name):
    made = json.loads((ROOT / EXERCISES_DIR / f"{name}.ipynb").read_text(encoding="utf-8"))
    sources = "\n".join("".join(cell["source"]) for cell in made["cells"])
    assert "SOLUTION" not in sources
    assert all(not cell.get("outputs") for cell in made["cells"])
    for number in exercises_of(name[:2]):
        for source in solution_of(number):
            for region in re.findall(r"# BEGIN SOLUTION\n(.*?)# END SOLUTION", source, re.DOTALL):
                lines = [line.strip() for line in region.splitlines() if len(line.strip()) > 30]
                assert not [line for line in lines if line in sources]
