"""The record of solved exercises: shown, kept, and never in the way."""

import json
import subprocess
import sys

import pytest

from utils import progress
from utils.progress import exercises_of, progress_table
from utils.runtime import CourseError


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    path = tmp_path / "state.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(path))
    return path


def test_what_was_solved_stays_solved(state):
    progress.record("02.1", "wrong")
    progress.record("02.1", "solved")
    progress.record("02.1", "wrong")
    assert json.loads(state.read_text()) == {"02.1": "solved"}


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"02.1": "perhaps"}', '{"02.1": [1]}', "\x00\xff"]
)
def test_a_damaged_record_is_put_aside(state, text):
    state.write_text(text)
    assert progress.load() == {}
    assert not state.exists()
    assert state.with_name("state.json.broken").read_text() == text
    progress.record("02.1", "solved")
    assert progress.load() == {"02.1": "solved"}


def test_a_record_that_cannot_be_written_is_no_error(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "no such folder" / "state.json"))
    progress.record("02.1", "solved")
    assert progress.load() == {}


def test_the_table(state):
    state.write_text(json.dumps({"02.1": "solved", "02.2": "wrong", "01.9": "solved"}))
    table = progress_table("02")
    numbers = list(table.chapters["02_autograd"])
    assert numbers[:3] == ["02.1", "02.2", "02.3"]
    assert repr(table).splitlines() == [
        f"02_autograd   1 of {len(numbers)}  1✅ 2❌ "
        + " ".join(f"{n[3:]}⬜" for n in numbers[2:]),
        f"1 of {len(numbers)} exercises solved",
    ]
    assert f"<td>1 of {len(numbers)}</td>" in table._repr_html_()


def test_titles_are_read_from_the_notebook():
    titles = exercises_of(progress.repository_root() / progress.EXERCISES_DIR / "02_autograd.ipynb")
    assert titles["02.1"] == "Slopes without calculus (warm-up)"


def test_a_chapter_without_exercises(tmp_path):
    with pytest.raises(CourseError, match="no exercises of 77"):
        progress_table("77")
    with pytest.raises(CourseError, match="make exercises"):
        progress_table(folder=tmp_path)


def test_it_runs_as_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "utils.progress"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "exercises solved" in done.stdout
