"""A result is held to its bar, and what the runner reads is what was recorded."""

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
