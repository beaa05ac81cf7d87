"""Run a learner's code safely, compare what it gives, and say what is wrong in one sentence.

An examination is a function decorated with :func:`exercise`. It gets what the learner hands over, uses
it through :func:`call`, and holds the results to what they should be with :func:`compare`; whatever the
learner's code does (raise, hang, return nan, change its inputs), :func:`check` answers with a diagnosis.
"""

from __future__ import annotations

import contextlib
import ctypes
import html
import importlib
import linecache
import math
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from utils import progress
from utils.runtime import HEADLESS

TIME_LIMIT = 10.0
"""Seconds that one check may take."""

_MARKS = {"solved": "✅", "wrong": "❌", "open": "⬜"}


class Wrong(Exception):
    """The answer is wrong; the message is the diagnosis."""


class NotAttempted(Exception):
    """The answer still holds a ``...``."""


class _OutOfTime(BaseException):
    """Raised into the learner's code; no ``except Exception`` there catches it."""


@dataclass(frozen=True)
class Outcome:
    """What a check found; a notebook shows it as one line.

    Attributes:
        number: number of the exercise, such as ``"02.3"``.
        status: ``"solved"``, ``"wrong"`` or ``"open"`` (not attempted, or no such exercise).
        message: the diagnosis; for learners.
    """

    number: str
    status: str
    message: str

    def __repr__(self) -> str:
        return f"{_MARKS[self.status]} {self.number}: {self.message}"

    def _repr_html_(self) -> str:
        color = {"solved": "#009E73", "wrong": "#D55E00", "open": "#8A8A8A"}[self.status]
        return (
            f'<div style="border-left: 4px solid {color}; padding: 2px 10px">{_MARKS[self.status]} '
            f"<b>{self.number}</b> {html.escape(self.message)}</div>"
        )


@dataclass(frozen=True)
class Exercise:
    """How one exercise is examined, and its ladder of hints."""

    number: str
    examine: Callable[..., None]
    hints: tuple[str, ...]


_EXERCISES: dict[str, Exercise] = {}
_hints_given: dict[str, int] = {}


def exercise(number: str, *hints: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the examination of an exercise.

    Args:
        number: chapter and exercise, such as ``"02.3"``.
        hints: from a nudge to nearly the answer; at least two.
    """

    def register(examine: Callable[..., None]) -> Callable[..., None]:
        _EXERCISES[number] = Exercise(number, examine, hints)
        return examine

    return register


def exercises_of(chapter: str) -> dict[str, Exercise]:
    """Return the exercises of a chapter by number; none when it has no checks.

    Args:
        chapter: two digits, such as ``"02"``.
    """
    if (Path(__file__).parent / f"ch{chapter}.py").exists():
        importlib.import_module(f"utils.checks.ch{chapter}")
    return {n: e for n, e in sorted(_EXERCISES.items()) if n.startswith(f"{chapter}.")}


def check(number: str, *answers: Any) -> Outcome:
    """Examine an answer at once, offline; never raises.

    Args:
        number: number of the exercise, such as ``"02.3"``.
        answers: what the exercise asks for, mostly one function.
    """
    found = _find(number)
    if isinstance(found, str):
        return Outcome(str(number), "open", found)
    outcome = Outcome(number, *_examine(found, answers))
    if not HEADLESS and not _in_solutions() and outcome.status != "open":
        progress.record(number, outcome.status)
    return outcome


def _in_solutions() -> bool:
    """Whether JupyterLab runs a notebook of solutions: reading those solves nothing."""
    return "solutions" in Path(os.environ.get("JPY_SESSION_NAME", "")).parts


def hint(number: str) -> Hint:
    """Give the next hint of an exercise; each call climbs one step."""
    found = _find(number)
    if isinstance(found, str):
        return Hint(found)
    step = min(_hints_given.get(number, 0) + 1, len(found.hints))
    _hints_given[number] = step
    text = f"Hint {step} of {len(found.hints)} for {number}: {found.hints[step - 1]}"
    return Hint(text)


class Hint(str):
    """A text that a notebook shows without quotes."""

    def __repr__(self) -> str:
        return str(self)


def _find(number: str) -> Exercise | str:
    """The exercise, or a sentence that says that there is none."""
    chapter = str(number).partition(".")[0]
    known = exercises_of(chapter) if chapter.isdecimal() else {}
    if number in known:
        return known[number]
    if not known:
        return f"there is no exercise {number!r}: give its number as text, such as '02.3'."
    return f"there is no exercise {number!r} in chapter {chapter}: it has {', '.join(known)}."


def _examine(found: Exercise, answers: tuple[Any, ...]) -> tuple[str, str]:
    """Status and message."""
    wanted = found.examine.__code__.co_argcount
    if len(answers) != wanted:
        return "wrong", f"the check takes {wanted} answers, and {len(answers)} were given."
    generator = torch.get_rng_state(), np.random.get_state()
    try:
        if any(isinstance(answer, EllipsisType) for answer in answers):
            raise NotAttempted
        with _time_limit(TIME_LIMIT), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(found.number.replace(".", "")))  # the same examples each time
            found.examine(*answers)
    except NotAttempted:
        return "open", "not attempted yet."
    except Wrong as wrong:
        return "wrong", str(wrong)
    except _OutOfTime:
        return "wrong", (
            f"your code ran longer than {TIME_LIMIT:g} seconds: look for a loop that never ends."
        )
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "wrong", (
            f"the check did not expect your answer ({type(error).__name__}: {_first_line(error)}, "
            f"{Path(where.filename).name} line {where.lineno}); does it return what is asked for?"
        )
    finally:
        torch.set_rng_state(generator[0])
        np.random.set_state(generator[1])
    return "solved", "solved."


# --- running the learner's code -------------------------------------------------------------------


def call(function: Any, *arguments: Any, changes: bool = False, **keywords: Any) -> Any:
    """Call the learner's function, class or module.

    Args:
        function: what the learner wrote.
        arguments: handed over as they are.
        changes: whether the exercise asks for inputs to be changed in place.
        keywords: likewise.

    Raises:
        NotAttempted: it returns ``...`` or raises NotImplementedError.
        Wrong: it is nothing that can be called, raises, or changes its inputs.
    """
    if not callable(function):
        raise Wrong(f"a function (or class) is asked for, and this is {_describe(function)}.")
    before = _snapshot((arguments, keywords))
    try:
        result = function(*arguments, **keywords)
    except (NotImplementedError, NotAttempted):
        raise NotAttempted from None
    except (Wrong, KeyboardInterrupt):
        raise
    except Exception as error:
        raise Wrong(_what_it_raised(error)) from None
    if isinstance(result, EllipsisType):
        raise NotAttempted
    if not changes and not same(before, _snapshot((arguments, keywords)), rtol=0, atol=0):
        raise Wrong(
            "your code changes the inputs it was given: make new tensors instead of working in place."
        )
    return result


def _snapshot(value: Any) -> Any:
    """A copy of the tensors, arrays and numbers in the arguments; whatever else is left out."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list | tuple):
        return [_snapshot(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _snapshot(v) for k, v in value.items()}
    if isinstance(value, torch.nn.Module):
        return _snapshot(dict(value.named_parameters()))
    return value if isinstance(value, int | float | str) else None


def _what_it_raised(error: Exception) -> str:
    text = f"your code raises {type(error).__name__}: {_first_line(error)}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "site-packages" in path.parts or path.parent == Path(__file__).parent:
            continue
        line = linecache.getline(frame.filename, frame.lineno or 0).strip()
        return f"{text}, in {line!r}." if line else f"{text}."
    return f"{text}."


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0]


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise into this thread when it takes too long."""
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():

        def ring(*_: Any) -> None:
            raise _OutOfTime

        previous = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)  # again, should a bare except catch it
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous)
        return
    # Windows, or another thread: this reaches loops in Python, not a call that sleeps
    thread = ctypes.c_ulong(threading.get_ident())
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc
    timer = threading.Timer(seconds, throw, (thread, ctypes.py_object(_OutOfTime)))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


# --- comparing ------------------------------------------------------------------------------------


def compare(
    actual: Any,
    expected: Any,
    mistakes: Mapping[str, Any] | None = None,
    *,
    name: str = "the result",
    rtol: float = 1e-4,
    atol: float = 1e-6,
) -> None:
    """Hold a result to what it should be.

    Args:
        actual: what the learner's code gave.
        expected: a tensor, array, number, bool, text, or a tuple, list or dict of such.
        mistakes: what typical errors give, by their diagnosis; those equal to ``expected`` here are
            passed over.
        name: how a diagnosis calls the result.
        rtol: relative tolerance.
        atol: absolute tolerance.

    Raises:
        NotAttempted: the result is ``...``.
        Wrong: with the diagnosis of the mistake, or of the first thing that differs: type, length,
            shape, dtype, device, nan, a factor, the sign, values.
    """
    if isinstance(actual, EllipsisType):
        raise NotAttempted
    tolerances = {"rtol": rtol, "atol": atol}
    for diagnosis, value in (mistakes or {}).items():
        if same(actual, value, **tolerances) and not same(expected, value, **tolerances):
            raise Wrong(diagnosis)
    if actual is None and expected is not None:
        raise Wrong(f"{name} is None: the function must end with return.")
    if isinstance(expected, dict):
        _compare_dicts(actual, expected, name, tolerances)
    elif isinstance(expected, list | tuple) and not isinstance(expected, torch.Size):
        _compare_sequences(actual, expected, name, tolerances)
    elif isinstance(expected, Tensor | np.ndarray):
        _compare_tensors(actual, expected, name, tolerances)
    else:
        _compare_values(actual, expected, name, tolerances)


def same(a: Any, b: Any, rtol: float = 1e-4, atol: float = 1e-6) -> bool:
    """Whether two values have the same kind and shape and are close."""
    if isinstance(a, Tensor | np.ndarray) and isinstance(b, Tensor | np.ndarray):
        return _same_tensors(a, b, rtol, atol)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y, rtol, atol) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], rtol, atol) for k in a)
    if _is_number(a) and _is_number(b):
        x, y = _float(a), _float(b)
        return math.isclose(x, y, rel_tol=rtol, abs_tol=atol) or (math.isnan(x) and math.isnan(y))
    return type(a) is type(b) and not isinstance(a, Tensor | np.ndarray) and bool(a == b)


def _same_tensors(a: Tensor | np.ndarray, b: Tensor | np.ndarray, rtol: float, atol: float) -> bool:
    if "meta" in (str(getattr(a, "device", "")), str(getattr(b, "device", ""))):
        return False  # there are no numbers to compare
    x, y = _as_double(a), _as_double(b)
    alike = x.shape == y.shape and x.dtype == y.dtype  # real and complex never are
    return alike and torch.allclose(x, y, rtol, atol, equal_nan=True)


def _float(value: Any) -> float:
    return float(value.item() if isinstance(value, Tensor) else value)


def _is_number(value: Any) -> bool:
    """A real Python or NumPy number, or a tensor that holds just one; a bool is none."""
    if isinstance(value, Tensor):
        kind = value.dtype is torch.bool or value.is_complex() or value.is_meta
        return value.ndim == 0 and not kind
    if isinstance(value, np.ndarray | np.generic):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 1e300  # what float() can hold


def _as_double(value: Tensor | np.ndarray) -> Tensor:
    tensor = torch.as_tensor(value).detach()
    return tensor.cpu().to(torch.complex128 if tensor.is_complex() else torch.double)


def _compare_dicts(actual: Any, expected: dict, name: str, tolerances: dict[str, float]) -> None:
    if not isinstance(actual, dict):
        raise Wrong(f"{name} is {_describe(actual)}, and a dict is asked for.")
    if actual.keys() != expected.keys():
        raise Wrong(f"{name} must have the keys {sorted(map(str, expected))}.")
    for key, value in expected.items():
        compare(actual[key], value, name=f"{name}[{key!r}]", **tolerances)


def _compare_sequences(
    actual: Any, expected: list | tuple, name: str, tolerances: dict[str, float]
) -> None:
    if not isinstance(actual, list | tuple):
        raise Wrong(
            f"{name} is {_describe(actual)}, and {len(expected)} values (a tuple or list) are asked for."
        )
    if len(actual) != len(expected):
        raise Wrong(f"{name} holds {len(actual)} values instead of {len(expected)}.")
    for position, (one, other) in enumerate(zip(actual, expected, strict=True)):
        compare(one, other, name=f"{name}[{position}]", **tolerances)


def _compare_tensors(
    actual: Any, expected: Tensor | np.ndarray, name: str, tolerances: dict[str, float]
) -> None:
    kind = Tensor if isinstance(expected, Tensor) else np.ndarray
    if not isinstance(actual, kind):
        wanted = "tensor" if kind is Tensor else "NumPy array"
        raise Wrong(f"{name} is {_describe(actual)}, and a {wanted} is asked for.")
    if tuple(actual.shape) != tuple(expected.shape):
        turned = actual.ndim == 2 and tuple(actual.shape) == tuple(expected.shape)[::-1]
        raise Wrong(
            f"{name} has the shape {tuple(actual.shape)} instead of {tuple(expected.shape)}"
            + (": it is transposed." if turned else ".")
        )
    if actual.dtype != expected.dtype:
        raise Wrong(f"{name} has the dtype {actual.dtype} instead of {expected.dtype}.")
    if isinstance(actual, Tensor) and actual.device != expected.device:
        raise Wrong(f"{name} is on {actual.device} instead of {expected.device}.")
    _compare_numbers(_as_double(actual), _as_double(expected), name, tolerances)


def _compare_values(actual: Any, expected: Any, name: str, tolerances: dict[str, float]) -> None:
    if _is_number(expected):
        if not _is_number(actual):
            raise Wrong(f"{name} is {_describe(actual)}, and a number is asked for.")
        if isinstance(expected, int) and isinstance(actual, float) and not actual.is_integer():
            raise Wrong(f"{name} must be a whole number.")
        numbers = (torch.tensor(_float(n), dtype=torch.double) for n in (actual, expected))
        _compare_numbers(*numbers, name, tolerances)
        return
    if isinstance(expected, bool) and isinstance(actual, Tensor | np.bool_):
        # a comparison gives these, and they say the same
        actual = (
            bool(actual) if actual.ndim == 0 and actual.dtype in (torch.bool, np.bool_) else actual
        )
    if type(actual) is not type(expected) and not (
        isinstance(expected, torch.Size) and isinstance(actual, tuple | list)
    ):
        raise Wrong(f"{name} is {_describe(actual)}, and a {type(expected).__name__} is asked for.")
    wanted = tuple(expected) if isinstance(expected, torch.Size) else expected
    given = tuple(actual) if isinstance(expected, torch.Size) else actual
    if given != wanted:
        raise Wrong(f"{name} is not right.")


def _compare_numbers(
    actual: Tensor, expected: Tensor, name: str, tolerances: dict[str, float]
) -> None:
    if torch.allclose(actual, expected, **tolerances, equal_nan=True):
        return
    if actual.isnan().any() and not expected.isnan().any():
        raise Wrong(f"{name} holds nan: something is divided by zero, or its logarithm is taken.")
    if actual.isinf().any() and not expected.isinf().any():
        raise Wrong(f"{name} holds inf: something overflows or is divided by zero.")
    if torch.allclose(actual, -expected, **tolerances):
        raise Wrong(f"{name} has the wrong sign.")
    if (factor := _constant(actual, expected, tolerances)) is not None:
        size = (
            f"{factor:.3g} times too large" if factor > 1 else f"{1 / factor:.3g} times too small"
        )
        raise Wrong(f"{name} is {size}.")
    square = actual.ndim == 2 and actual.shape[0] == actual.shape[1] > 1
    if square and torch.allclose(actual.T, expected, **tolerances):
        raise Wrong(f"{name} is transposed.")
    if actual.ndim == 0:
        raise Wrong(f"{name} is {actual.item():.6g}, and that is not right.")
    off = ~torch.isclose(actual, expected, **tolerances, equal_nan=True)
    where = off.nonzero()[0].tolist()
    raise Wrong(
        f"{name} has the right shape, but {int(off.sum())} of {off.numel()} values are wrong, the "
        f"first at {where}."
    )


def _constant(actual: Tensor, expected: Tensor, tolerances: dict[str, float]) -> float | None:
    """The positive factor between two tensors, when there is one."""
    if actual.is_complex() or not expected.abs().max() > 0 or not actual.isfinite().all():
        return None
    factor = ((actual * expected).sum() / (expected * expected).sum()).item()
    close = torch.allclose(actual, factor * expected, **tolerances)
    return factor if factor > 0 and close and abs(factor - 1) > 1e-3 else None


def _describe(value: Any) -> str:
    """A value's kind with its article, for a diagnosis."""
    if value is None:
        return "None"
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
