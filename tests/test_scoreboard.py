"""A result is held to its bar, and what the runner reads is what was recorded."""

import json

import pytest

from utils import scoreboard
from utils.runtime import CourseError
from utils.scoreboard import Scoreboard


@pytest.fixture
def board(monkeypatch):
    monkeypatch.delenv("COURSE_PREFIX", raising=False)
    return Scoreboard("03_data", device="cpu", seed=42)


@pytest.mark.parametrize(
    "bar, value, kept",
    [
        (("<=", 0.5), 0.5, True),
        (("<=", 0.5), 0.51, False),
        ((">=", 0.5), 0.5, True),
        ((">=", 0.5), 0.49, False),
        (("==", 3), 3, True),
        (("==", 3), 4, False),
        (None, 1e9, True),
    ],
)
def test_bars(board, bar, value, kept, capsys):
    board.record("m", value, label="a number", bar=bar, headline=True)
    if kept:
        board.finish()
    else:
        with pytest.raises(AssertionError, match="m = "):
            board.finish()
        assert "MISSED" in capsys.readouterr().out


def test_the_payload_holds_metrics_and_baselines(board, monkeypatch):
    payloads = []
    monkeypatch.setattr(scoreboard, "_display", lambda payload, *_: payloads.append(payload))
    board.record(
        "error", 0.04, label="error", bar=("<=", 0.05), baseline=0.09, baseline_name="last week",
        headline=True,
    )  # fmt: skip
    board.record("other", 2, label="other")
    board.finish()
    assert payloads[0]["chapter"] == "03_data"
    assert payloads[0]["metrics"] == {"error": 0.04, "error_baseline": 0.09, "other": 2.0}
    assert [r["passed"] for r in payloads[0]["results"]] == [True, True]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(board, value):
    with pytest.raises(ValueError, match="not finite"):
        board.record("m", value, label="m")


def test_misuse_is_refused(board):
    board.record("m", 1, label="m", headline=True)
    with pytest.raises(ValueError, match="twice"):
        board.record("m", 1, label="m")
    with pytest.raises(ValueError, match="one headline"):
        board.record("n", 1, label="n", headline=True)
    with pytest.raises(ValueError, match="unknown operator"):
        board.record("n", 1, label="n", bar=("<", 2))
    with pytest.raises(ValueError, match="both a value and a name"):
        board.record("n", 1, label="n", baseline=2)


def test_a_chapter_without_a_headline_did_not_finish(board):
    with pytest.raises(ValueError, match="headline"):
        board.finish()
    board.record("m", 1, label="m")
    with pytest.raises(ValueError, match="headline"):
        board.finish()


def test_a_kernel_of_another_environment_is_noticed(board, monkeypatch, tmp_path):
    board.record("m", 1, label="m", headline=True)
    monkeypatch.setenv("COURSE_PREFIX", str(tmp_path))
    with pytest.raises(CourseError, match="another Python environment"):
        board.finish()


def table_of(board, capsys):
    board.finish()
    return capsys.readouterr().out


def test_the_usual_range_stands_beside_the_result(board, capsys, monkeypatch, tmp_path):
    bands = {"accuracy": {"low": 0.97512, "high": 0.98449}, "rows": {"low": 3.0, "high": 3.0}}
    content = {"chapters": {"03_data": {"metrics": bands}, "04_other": {"metrics": {}}}}
    (tmp_path / "bands.json").write_text(json.dumps(content))
    monkeypatch.setattr(scoreboard, "BANDS", tmp_path / "bands.json")
    board.record("accuracy", 0.978, label="accuracy", digits=3, headline=True)
    board.record("rows", 3, label="rows")
    board.record("new", 1, label="never measured")
    lines = table_of(board, capsys).splitlines()
    assert lines[0].split("  ")[1:3] == ["0.978", "0.975 to 0.984"]
    assert lines[1].split("  ")[1:3] == ["3", "3"]
    assert lines[2].split("  ")[1:3] == ["1", "–"]


@pytest.mark.parametrize("why", ["no file", "PROFILE full"])
def test_without_a_measured_range_the_column_is_empty(board, capsys, monkeypatch, tmp_path, why):
    file = tmp_path / "bands.json"
    if why == "PROFILE full":
        content = {"chapters": {"03_data": {"metrics": {"m": {"low": 1, "high": 2}}}}}
        file.write_text(json.dumps(content))
        monkeypatch.setattr(scoreboard, "_notebook_variables", lambda: {"PROFILE": "full"})
    monkeypatch.setattr(scoreboard, "BANDS", file)
    board.record("m", 1, label="m", headline=True)
    assert table_of(board, capsys).splitlines()[0].split("  ")[2] == "–"
