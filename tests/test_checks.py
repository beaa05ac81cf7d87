"""The engine of the exercise checks: every way to be wrong has its sentence, and none is an exception."""

import contextlib
import threading
import time

import numpy as np
import pytest
import torch

from utils import progress
from utils.checks import check, engine, hint
from utils.checks.engine import NotAttempted, Wrong, call, compare, exercise, same


@pytest.fixture
def examined(monkeypatch):
    """Register an examination as exercise 99.1 and return what check() says of an answer."""
    monkeypatch.setattr(engine, "_EXERCISES", {})

    def answer(examination, *answers):
        exercise("99.1", "first", "second")(examination)
        return check("99.1", *answers)

    return answer


def doubles(function):
    compare(call(function, torch.tensor([1.0, 2.0])), torch.tensor([2.0, 4.0]))


def wrongness(actual, expected, mistakes=None, **options):
    with pytest.raises(Wrong) as caught:
        compare(actual, expected, mistakes, **options)
    return str(caught.value)


def test_right_wrong_and_open(examined):
    solved = examined(doubles, lambda x: 2 * x)
    assert (solved.status, repr(solved)) == ("solved", "✅ 99.1: solved.")
    assert examined(doubles, lambda x: 3 * x).status == "wrong"
    for stub in (..., lambda x: ..., _raises(NotImplementedError)):
        assert repr(examined(doubles, stub)) == "⬜ 99.1: not attempted yet."


def _raises(error):
    def function(x):
        raise error

    return function


@pytest.mark.parametrize(
    "answer, sentence",
    [
        (
            _raises(ValueError("too bad\nmore")),
            "your code raises ValueError: too bad, in 'raise error'",
        ),
        (_raises(ValueError()), "your code raises ValueError: no message"),
        (5, "a function (or class) is asked for, and this is an int."),
        (lambda: 5, "your code raises TypeError"),
        (lambda x: None, "the result is None: the function must end with return."),
        (lambda x: x.add_(x), "changes the inputs"),
        (lambda x: [2.0, 4.0], "the result is a list, and a tensor is asked for."),
        (lambda x: (2 * x).numpy(), "a NumPy array of shape (2,), and a tensor is asked for."),
        (lambda x: 2 * x[None], "the shape (1, 2) instead of (2,)"),
        (lambda x: 2 * x.double(), "the dtype torch.float64 instead of torch.float32"),
        (lambda x: (2 * x).to("meta"), "is on meta instead of cpu"),
        (lambda x: 2 * x + float("nan"), "holds nan"),
        (lambda x: x / 0, "holds inf"),
        (lambda x: -2 * x, "has the wrong sign"),
        (lambda x: 6 * x, "is 3 times too large"),
        (lambda x: x / 2, "is 4 times too small"),
        (lambda x: torch.tensor([2.0, 5.0]), "1 of 2 values are wrong, the first at [1]"),
    ],
)
def test_what_a_learner_may_get_wrong(examined, answer, sentence):
    outcome = examined(doubles, answer)
    assert outcome.status == "wrong"
    assert sentence in outcome.message


@pytest.mark.parametrize(
    "actual, expected, sentence",
    [
        (torch.tensor([[1.0, 2], [3, 4]]), torch.tensor([[1.0, 3], [2, 4]]), "is transposed"),
        (torch.ones(2, 3), torch.ones(3, 2), "instead of (3, 2): it is transposed"),
        (1.5, 2.0, "is 1.33 times too small"),
        (1.5, 2, "must be a whole number"),
        ("a", 2.0, "is a str, and a number is asked for"),
        (True, 2.0, "is a bool, and a number is asked for"),
        (1, True, "is an int, and a bool is asked for"),
        ("no", "yes", "is not right"),
        (torch.ones(2), torch.Size([2]), "a tensor of shape (2,), and a Size is asked for"),
        ((3, 2), torch.Size([2, 3]), "is not right"),
        (5.0, (1.0, 2.0), "is a float, and 2 values"),
        ((1.0,), (1.0, 2.0), "holds 1 values instead of 2"),
        ((1.0, 3.0), (1.0, 2.0), "the result[1] is 1.5 times too large"),
        ({"a": 1}, {"b": 1}, "must have the keys ['b']"),
        ({"a": 3}, {"a": 1}, "the result['a'] is 3 times too large"),
        ([1], {"a": 1}, "a dict is asked for"),
        (torch.ones(2), np.ones(2), "and a NumPy array is asked for"),
        (7.0, 0.0, "is 7, and that is not right"),
        (10**400, 2.0, "is an int, and a number is asked for"),
        (torch.tensor(2j), 2.0, "a tensor of shape (), and a number is asked for"),
        (torch.tensor(2.0, device="meta"), 2.0, "a tensor of shape (), and a number is asked for"),
        (torch.tensor([2j]), torch.tensor([2.0]), "the dtype torch.complex64 instead of"),
    ],
)
def test_comparing(actual, expected, sentence):
    assert sentence in wrongness(actual, expected)


def test_what_is_the_same_passes():
    compare((3, 2), torch.Size([3, 2]))
    compare(torch.tensor(True), True)
    compare(torch.tensor(2.0), 2.0)
    compare({"a": [1, torch.ones(2)]}, {"a": (1.0, torch.ones(2))})
    compare(torch.tensor(float("nan")), torch.tensor(float("nan")))
    assert not same(torch.ones(2), torch.ones(3))
    assert not same(torch.ones(2), "x")
    assert not same("x", "y")


def test_typical_mistakes_come_first_and_never_hit_the_right_answer():
    mistakes = {"you forgot the root.": 4.0, "equal here by chance.": 2.0}
    assert wrongness(4.0, 2.0, mistakes) == "you forgot the root."
    compare(2.0, 2.0, mistakes)
    with pytest.raises(NotAttempted):
        compare(..., 2.0)


def test_endless_code_is_stopped_even_if_it_catches_everything(examined, monkeypatch):
    monkeypatch.setattr(engine, "TIME_LIMIT", 0.3)

    def stubborn(x):
        while True:
            with contextlib.suppress(Exception):
                time.sleep(10)

    started = time.monotonic()
    assert "ran longer than 0.3 seconds" in examined(doubles, stubborn).message
    assert time.monotonic() - started < 3


def test_endless_code_is_stopped_in_another_thread_as_on_windows(examined, monkeypatch):
    monkeypatch.setattr(engine, "TIME_LIMIT", 0.3)

    def endless(x):
        while True:
            pass

    found = []
    thread = threading.Thread(target=lambda: found.append(examined(doubles, endless)), daemon=True)
    thread.start()
    thread.join(10)
    assert "ran longer than" in found[0].message


def test_the_learners_random_numbers_are_left_alone(examined):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    examined(lambda f: compare(call(f, torch.rand(2)).shape, torch.Size([2])), lambda x: x)
    assert torch.equal(torch.rand(3), expected)


def test_a_check_that_fails_itself_says_so(examined):
    outcome = examined(lambda f: {}["key"], len)
    assert outcome.status == "wrong"
    assert "the check did not expect your answer (KeyError" in outcome.message


@pytest.mark.parametrize("number", ["77.1", "xx", 2.3, "02.99", ""])
def test_an_exercise_that_is_not_there(number):
    assert "there is no exercise" in check(number, len).message
    assert "there is no exercise" in hint(number)


def test_the_number_of_answers():
    assert check("02.1").message == "the check takes 1 answers, and 0 were given."


def test_hints_climb(examined, monkeypatch):
    monkeypatch.setattr(engine, "_hints_given", {})
    examined(doubles, len)
    given = [repr(hint("99.1")) for _ in range(3)]
    assert given[0] == "Hint 1 of 2 for 99.1: first"
    assert given[1] == given[2] == "Hint 2 of 2 for 99.1: second"


def test_progress_is_recorded_when_somebody_watches(examined, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "state.json"))
    examined(doubles, lambda x: 2 * x)
    assert progress.load() == {}  # headless: tests and runners leave no trace
    monkeypatch.setattr(engine, "HEADLESS", False)
    examined(doubles, lambda x: 3 * x)
    assert progress.load() == {"99.1": "wrong"}
    examined(doubles, lambda x: 2 * x)
    examined(doubles, lambda x: 3 * x)
    assert progress.load() == {"99.1": "solved"}
    examined(doubles, ...)
    assert progress.load() == {"99.1": "solved"}


def test_running_the_solutions_solves_nothing(examined, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "state.json"))
    monkeypatch.setattr(engine, "HEADLESS", False)
    monkeypatch.setenv("JPY_SESSION_NAME", "solutions/02_autograd.ipynb")
    examined(doubles, lambda x: 2 * x)
    assert progress.load() == {}
    monkeypatch.setenv("JPY_SESSION_NAME", "exercises/02_autograd.ipynb")
    examined(doubles, lambda x: 2 * x)
    assert progress.load() == {"99.1": "solved"}


def test_the_html_escapes_what_learners_write(examined):
    outcome = examined(doubles, _raises(ValueError("<b>&")))
    assert "&lt;b&gt;&amp;" in outcome._repr_html_()
