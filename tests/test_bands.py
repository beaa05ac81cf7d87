"""The committed bands are those of the committed chapters, and every bar lies outside of them."""

import copy
import json
import subprocess
from pathlib import Path

import pytest

from tools import bands
from utils.notebooks import find_chapters, read_notebook, results_of

COMMITTED = json.loads(bands.BANDS.read_text(encoding="utf-8"))
CHAPTERS = {path.stem: path for path in find_chapters()}


def test_every_chapter_was_measured_and_no_run_failed():
    assert list(COMMITTED["chapters"]) == list(CHAPTERS)
    for name, chapter in COMMITTED["chapters"].items():
        assert chapter["failed"] == [], name
        assert len(set(chapter["seeds"])) >= 5, name
        assert len(set(chapter["threads"])) >= 2, name
        optional = ["optional"] if bands.uses_optional_data(CHAPTERS[name]) else []
        assert chapter["data"] == ["bundled", *optional], f"{name}: first make data-full"
        assert chapter["versions"]["torch"] and chapter["date"]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_bands_are_of_this_code(name):
    assert COMMITTED["chapters"][name]["code"] == bands.fingerprint(CHAPTERS[name]), (
        f"the code of {name} has changed: run make bands CHAPTERS={name[:2]}"
    )


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_result_of_the_page_has_a_band_and_every_bar_is_the_measured_one(name):
    payload = results_of(read_notebook(CHAPTERS[name]))
    chapter = COMMITTED["chapters"][name]
    assert set(payload["metrics"]) <= set(chapter["metrics"])
    for result in payload["results"]:
        if result["op"] is not None:
            assert chapter["bars"][result["metric"]] == [result["op"], result["bound"]]


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_bars_lie_outside_the_bands_by_a_margin(name):
    assert bands.too_close(COMMITTED["chapters"][name]) == []


@pytest.mark.parametrize(
    "op, bound, low, high, spread, close",
    [
        ("<=", 1.0, 0.5, 0.8, 0.1, False),
        ("<=", 1.0, 0.5, 0.95, 0.1, True),  # outside, but by half a standard deviation only
        ("<=", 1.0, 0.5, 1.01, 0.001, True),
        (">=", 1.0, 1.2, 1.5, 0.1, False),
        (">=", 1.0, 1.05, 1.5, 0.1, True),
        (">=", 1.0, 0.9, 1.5, 0.001, True),
        (">=", 1.0, 1.0, 1.0, 0.0, False),  # the best that there is, always reached
        ("<=", 0.0, 0.0, 0.0, 0.0, False),
        ("==", 3.0, 3.0, 3.0, 0.0, False),
        ("==", 3.0, 3.0, 4.0, 0.4, True),
    ],
)
def test_what_too_close_means(op, bound, low, high, spread, close):
    band = {"mean": (low + high) / 2, "low": low, "high": high, "spread": spread}
    chapter = {"bars": {"m": [op, bound]}, "metrics": {"m": band}}
    assert bool(bands.too_close(chapter)) is close


def test_a_bar_without_a_band_is_noticed():
    assert "never measured" in bands.too_close({"bars": {"m": ["<=", 1.0]}, "metrics": {}})[0]


def run(seed, threads, value, data="bundled"):
    metrics = {"m": value, **({"n": 10 * value} if data == "optional" else {})}
    bars = [{"metric": m, "op": "<=", "bound": 99.0} for m in metrics]
    return {
        "seed": seed, "threads": threads, "data": data, "metrics": metrics, "bars": bars,
        "status": "passed", "error": None, "seconds": 3.0,
    }  # fmt: skip


def test_a_band_tells_seeds_from_threads():
    found = bands.band([run(1, 1, 2.0), run(1, 2, 2.5), run(2, 1, 4.0), run(2, 2, 4.1)], "m")
    assert found == {
        "mean": 3.15, "spread": pytest.approx(1.0598742), "low": 2.0, "high": 4.1,
        "threads_change": 0.5,
    }  # fmt: skip


def test_bundled_and_optional_data_share_a_band_but_are_no_change_by_threads():
    found = bands.band([run(1, 1, 2.0), run(1, 2, 2.5), run(1, 1, 7.0, "optional")], "m")
    assert (found["low"], found["high"], found["threads_change"]) == (2.0, 7.0, 0.5)


def test_what_only_the_optional_data_give_has_a_band_of_these_runs():
    runs = [run(1, 1, 2.0), run(2, 1, 3.0), run(1, 1, 4.0, "optional"), run(2, 1, 5.0, "optional")]
    chapter = bands.summarise({"03_data": runs}, {"03_data": "x"}, {}, [1, 2], [1])["chapters"]
    chapter = chapter["03_data"]
    assert chapter["data"] == ["bundled", "optional"]
    assert [chapter["metrics"][m][end] for m in "mn" for end in ("low", "high")] == [2, 5, 40, 50]
    assert set(chapter["bars"]) == {"m", "n"}


@pytest.mark.parametrize(
    "runs, message",
    [
        ([run(1, 1, 2.0)], "03_data has only 1 of 2 runs with results on bundled data"),
        ([], "03_data has only 0 of 2 runs with results on bundled data"),
        (
            [run(1, 1, 2.0), run(2, 1, 2.0), run(1, 1, 2.0, "optional")],
            "03_data has only 1 of 2 runs with results on optional data",
        ),
        (
            [run(1, 1, 2.0), {**run(2, 1, 2.0), "metrics": {"m": 1.0, "o": 1.0}}],
            "03_data did not record o each time",
        ),
    ],
)
def test_a_missing_run_or_result_is_not_passed_over(runs, message):
    with pytest.raises(bands.CourseError, match=message):
        bands.summarise({"03_data": runs}, {"03_data": "x"}, {}, [1, 2], [1])


def test_which_chapters_use_optional_data():
    assert [n[:2] for n, path in CHAPTERS.items() if bands.uses_optional_data(path)] == ["12", "14"]


def test_runs_on_bundled_data_see_no_optional_data(monkeypatch, tmp_path):
    seen = []

    def fake(command, cwd, env, check):
        seen.append(env)
        build = Path(command[command.index("--build") + 1])
        build.mkdir(parents=True)
        (build / "results.json").write_text('{"chapters": []}')
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(bands.subprocess, "run", fake)
    monkeypatch.setattr(bands, "optional_data_available", lambda: True)
    monkeypatch.setenv("COURSE_DATA_MIRROR", "/somewhere")
    monkeypatch.setenv("COURSE_DATA_CACHE", "/elsewhere")
    chapters = [CHAPTERS["01_tensors"], CHAPTERS["14_graph_convolution"]]
    assert bands.measure(chapters, [1], [1], 1, tmp_path) == {c.stem: [] for c in chapters}
    bundled, optional = seen
    assert "COURSE_DATA_MIRROR" not in bundled
    assert not Path(bundled["COURSE_DATA_CACHE"]).exists()
    assert optional["COURSE_DATA_MIRROR"] == "/somewhere"
    assert optional["COURSE_DATA_CACHE"] == "/elsewhere"


def test_measuring_some_chapters_keeps_the_others():
    record = run(1, 1, 2.0)
    old = copy.deepcopy(COMMITTED)
    content = bands.summarise({"03_data": [record]}, {"03_data": "code"}, old, [1], [1])
    assert content["chapters"]["03_data"]["code"] == "code"
    assert content["chapters"]["01_tensors"] == COMMITTED["chapters"]["01_tensors"]
    assert old == COMMITTED


def test_comments_and_cell_borders_do_not_count_but_code_does(tmp_path):
    def written(*cells):
        from nbformat import v4

        path = tmp_path / "01_chapter.ipynb"
        path.write_text(v4.writes(v4.new_notebook(cells=[v4.new_code_cell(c) for c in cells])))
        return bands.fingerprint(path)

    first = written("x = 1", "def f():\n    '''Double.'''\n    return 2 * x")
    assert written("# one\nx = 1\n\ndef f():\n    return 2 * x") == first
    assert written("x = 1", "def f():\n    return 3 * x") != first
