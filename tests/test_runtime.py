"""Devices, seeds, atomic files."""

import ast
import random

import numpy as np
import pytest
import torch

from utils.notebooks import read_notebook, repository_root
from utils.runtime import CourseError, attempt, choose_device, seed_everything, write_atomically


def test_auto_takes_the_fastest_device_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device().type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_with_advice(monkeypatch, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(CourseError, match=f"no {name.upper()} device.*DEVICE = 'auto' or 'cpu'"):
        choose_device(name)


def test_an_unknown_device_is_refused_with_the_list():
    with pytest.raises(CourseError, match="'gpu'.*auto, cpu, cuda, mps"):
        choose_device("gpu")


def test_equal_seeds_give_equal_draws_from_all_generators():
    def draws():
        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_everything(7)
    first, second = draws(), draws()
    seed_everything(7)
    assert draws() == first
    assert second != first
    seed_everything(8)
    assert not set(draws()) & set(first)


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, "42", None, True])
def test_a_bad_seed_is_refused(seed):
    with pytest.raises(CourseError, match="0 to 4294967295"):
        seed_everything(seed)


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_atomically("old\n", path)

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically("new\n", path)
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]


def taught_attempt():
    """The function as chapter 01 defines it, among calls of it."""
    cells = read_notebook(repository_root() / "notebooks" / "01_tensors.ipynb").cells
    (source,) = [c.source for c in cells if c.source.startswith("def attempt(")]
    (definition, *_) = ast.parse(source).body
    namespace = {}
    exec(compile(ast.Module([definition], []), "01_tensors", "exec"), namespace)
    return namespace["attempt"]


@pytest.mark.parametrize(
    "call, printed",
    [
        (lambda: 1 + 1, "2"),
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: int("x - y"), "ValueError: invalid literal for int() with base 10: 'x"),
        (lambda: exec("a\nb ("), "SyntaxError: '(' was never closed (<string>, line 2)"),
    ],
)
def test_attempt_prints_a_result_or_an_error_as_chapter_01_does(call, printed, capsys):
    for function in (attempt, taught_attempt()):
        function(call)
        assert capsys.readouterr().out == printed + "\n"
