"""``make bench``: the clock, the taking of code from chapters, the sums, and the committed page."""

import copy
import json
import math
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch

from tools import bench, benchmarks
from tools.benchmarks import (
    NAMES,
    RACES,
    __main__,
    beijing,
    chapters,
    chicago,
    digits,
    lenet,
    loading,
    page,
    regression,
    sincos,
    startup,
    summary,
)
from tools.benchmarks.recipes import Race, Recipe
from tools.benchmarks.watch import EnoughError, Watch
from utils import training
from utils.notebooks import code_cells, find_chapters, read_notebook, repository_root
from utils.runtime import CourseError

DOCS = repository_root() / "docs"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def committed():
    return json.loads((DOCS / "benchmarks.json").read_text(encoding="utf-8"))


# --- the committed page ---------------------------------------------------------------------------


def test_the_page_is_what_the_numbers_give(committed):
    assert (DOCS / "benchmarks.md").read_text(encoding="utf-8") == page.render(committed)


def test_everything_was_measured(committed):
    assert tuple(committed["benchmarks"]) == NAMES
    started = committed["benchmarks"]["startup"]["summary"]["chapters"]
    assert list(started) == [c.stem for c in find_chapters()]
    assert set(committed["benchmarks"]["loading"]["summary"]) == set(loading.WAYS)
    assert committed["benchmarks"]["beijing"]["devices"], "set COURSE_DATA_MIRROR"


def test_what_was_measured_was_measured_in_earnest(committed):
    assert committed["benchmarks"] and set(committed["benchmarks"]) <= set(NAMES)
    for name, entry in committed["benchmarks"].items():
        facts = entry["conditions"]
        assert not facts["quick"] and facts["threads"] >= 1 and facts["repeats"] >= 1, name
        if name in RACES:
            runs = entry["devices"]["cpu"]["runs"]
            assert list(runs) == list(benchmarks.race(name).recipes)
            seeds = {tuple(run["seed"] for run in records) for records in runs.values()}
            assert seeds == {tuple(range(1, facts["repeats"] + 1))}, "same seeds for all recipes"


def test_medians_and_ratios_are_those_of_the_runs(committed):
    for name, entry in committed["benchmarks"].items():
        if name in RACES:
            for device, part in entry["devices"].items():
                assert summary.summarise(part, summary.CLOCKS[device]) == part["summary"]
                for row in part["summary"]["rows"]:
                    costs = row["costs"]
                    for other, ratio in row["ratios"].items():
                        if ratio is None:
                            assert costs[other] is None or costs["course"] is None
                        else:
                            exact = costs[other]["seconds"] / costs["course"]["seconds"]
                            assert ratio == pytest.approx(exact, rel=1e-4)
        elif name == "beijing":
            for part in entry["devices"].values():
                again = summary.summarise_beijing(part["runs"], beijing.published())
                assert again == part["summary"]
        elif name == "loading":
            assert summary.summarise_loading(entry["runs"]) == entry["summary"]
        else:
            assert summary.summarise_startup(entry["runs"]) == entry["summary"]


def leaves(content):
    if isinstance(content, dict):
        for value in content.values():
            yield from leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from leaves(value)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield content


def test_every_number_in_a_table_comes_from_the_file(committed):
    """Below the head, in every column but the first, which names things."""
    possible = set()
    for value in leaves(committed):
        possible |= {page.seconds(value), f"{value:,.0f}", f"{value:.1f}", f"{value:.2f}"}
        possible |= {f"{value:.2g}", f"{value:.1%}"[:-1], f"{value:.2%}"[:-1], str(value)}
    rows = [r for r in page.render(committed).splitlines() if r.startswith("| ")]
    body = rows[: next(i for i, r in enumerate(rows) if r.startswith("| benchmark |"))]
    tokens = [
        token
        for row in body
        for cell in row.split(" | ")[1:]
        if not re.search(r"seconds|\bnotes\b.*/|---", cell)
        for token in re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", cell)
    ]
    assert len(tokens) > 10 * len(committed["benchmarks"])
    assert [t for t in tokens if t not in possible] == []


def test_no_number_of_the_page_stays_when_the_runs_change(committed):
    """The conclusions follow the numbers: triple all of them, and every sentence moves along."""

    def tripled(content):
        if isinstance(content, dict):
            kept = ("conditions", "why", "targets", "quality", "published")
            return {k: v if k in kept else tripled(v) for k, v in content.items()}
        if isinstance(content, list):
            return [tripled(value) for value in content]
        number = isinstance(content, int | float) and not isinstance(content, bool)
        return content * 3 if number else content

    was, now = (page.render(c).splitlines() for c in (committed, tripled(committed)))
    assert len(was) == len(now)
    starts = {"sincos": "Of the ", "loading": "A `Dataset` of", "startup": "The headless start"}
    starts["beijing"] = "The lowest published"
    for name, words in starts.items():
        moved = [a != b for a, b in zip(was, now, strict=True) if a.startswith(words)]
        entry = committed["benchmarks"].get(name)
        there = entry is not None and entry.get("devices") != {}
        assert moved == [True] * there, name


# --- the clock ------------------------------------------------------------------------------------


def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_looking_costs_nothing_and_training_does():
    watch = Watch(1, CPU, [0.5], at_most=True)
    watch.follow(lambda _: burn(0.08) or 1.0, every=1, limit=2)
    burn(0.04)
    watch.tick()
    with pytest.raises(EnoughError):
        watch.tick()
    (_, first, *_), (_, second, *_) = watch.curve
    assert 0.04 <= first < 0.07 and second - first < 0.04


def test_a_run_ends_when_all_targets_are_reached():
    qualities = iter([math.nan, 0.9, 0.3, 0.1, 0.0])
    watch = Watch(1, CPU, [0.5, 0.2], at_most=True)
    watch.follow(lambda _: next(qualities), every=10)
    with pytest.raises(EnoughError):
        for _ in range(100):
            watch.tick()
    record = watch.record(test=0.15)
    assert [point[0] for point in watch.curve] == [10, 20, 30, 40]
    assert (record["steps"], record["best"], record["best_steps"]) == (40, 0.1, 40)
    assert watch.reaches(0.2, 0.2) and not watch.reaches(math.nan, 0.2)
    assert Watch(1, CPU, [0.9], at_most=False).reaches(0.95, 0.9)


def test_batches_tick_after_their_step():
    watch, log = Watch(1, CPU, [0.0], at_most=True), []
    watch.follow(lambda _: log.append("look") or 1.0, every=1)
    for batch in watch.batches(["a", "b"]):
        log.append(batch)
    assert log == ["a", "look", "b", "look"] and len(watch.batches([1, 2, 3])) == 3


def test_the_watched_fit_trains_like_the_plain_one():
    x = torch.arange(8.0)[:, None]
    ends = []
    for plain in (True, False):
        torch.manual_seed(0)
        net = torch.nn.Linear(1, 1)
        optimizer = regression.define("06", ["HandSGD"]).HandSGD(net.parameters(), 0.01)
        watch = Watch(1, CPU, [0.0], at_most=True)
        watch.follow(lambda model: model.weight.item() ** 2 + 1, every=3)
        batches = training.TensorBatches(x, 2 * x, 4, shuffle=True)
        fit = training.fit if plain else watch.fit
        fit(net, batches, torch.nn.functional.mse_loss, optimizer, 3)
        ends.append(net.weight.item())
    assert ends[0] == ends[1] and watch.steps == 6 and watch.model is net
    assert [point[0] for point in watch.curve] == [3, 6]


# --- code from the chapters -----------------------------------------------------------------------

WANTED = {
    "06": (regression.NAMES, {"device", "training", "evaluate"}),
    "07": (digits.NAMES, {"device", "PROFILE"}),
    "09": (lenet.NAMES, {"device", "PROFILE", "SEED", "F", "fit"}),
    "11": (sincos.NAMES, {"device", "Follower"}),
    "12": (chicago.RAW, {"device"}),
    "03": (("DigitImages", "compose"), set()),
}


@pytest.mark.parametrize("chapter", WANTED)
def test_the_chapters_define_what_is_measured_and_train_nothing_on_the_way(chapter):
    names, given = WANTED[chapter]
    chosen = chapters.select(chapter, names, given)
    assert set(names) <= set().union(*(s.binds for s in chosen)) | given
    for statement in chosen:
        assert statement.deferred or not re.search(
            r"\b(fit|train|learn|one_cycle|recipe|backward)\(", statement.code
        )


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    from nbformat import v4

    from utils.notebooks import write_notebook

    def make(*sources):
        nb = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
        write_notebook(nb, tmp_path / "99_fake.ipynb")
        chapters._statements.cache_clear()
        monkeypatch.setattr(chapters, "find_chapters", lambda _: [tmp_path / "99_fake.ipynb"])

    yield make
    chapters._statements.cache_clear()


def test_a_name_means_the_last_definition_above(notebook):
    notebook("a = 1", "b = a + 10", "a = 2", "c = a + b\nprint('no')", "a = 1 / 0")
    found = chapters.define("99", ["c"])
    assert found.c == 13 and not hasattr(found, "nothing")


def test_a_function_may_use_what_comes_below(notebook):
    notebook("def f():\n    return g(2)", "def g(x):\n    return [y * k for y in (x,)]", "k = 3")
    assert chapters.define("99", ["f"]).f() == [6]
    assert chapters.define("99", ["f"], g=lambda x: -x).f() == -2


def test_what_is_given_is_not_defined_again(notebook):
    notebook("size = 1 / 0", "import math, does_not_exist", "area = math.floor(size)")
    assert chapters.define("99", ["area"], size=4.2).area == 4
    with pytest.raises(CourseError, match="Chapter 99 defines no 'volume' any more."):
        chapters.define("99", ["volume"])


def test_the_settings_are_the_chapters():
    """Where a benchmark repeats a number of a chapter, the chapter still says it."""

    def code(number):
        nb = read_notebook(find_chapters([number])[0])
        return " ".join("\n".join(c.source for _, c in code_cells(nb)).split())

    assert "one_cycle(x[:7000], y[:7000], best_decay, epochs=30)" in code("06")
    assert "for decay in (0.01, 0.3, 1, 3)" in code("06")
    assert "(0.01, 0.1, 0.3)" in code("07") and "lr, steps=1000)" in code("07")
    assert '"as written": (0.01 / 32, True)' in code("07")
    assert "learn(normed, digits, 12, rate=0.01, change=jitter, smooth=0.1)" in code("09")
    assert "data = segments(1000, 2 * math.pi * torch.rand(16, dtype=torch.float64))" in code("11")
    assert "train(SEED + k, closed, lr=0.02, cycle=False)" in code("11")
    assert "learn(MetroLSTM(20, 31, 11), seen, h, calendar)" in code("12")
    assert f"{beijing.MINUTES}: {beijing.EPOCHS}," in code("12")
    assert beijing.published()["ResLSTM"] == 7.805 and len(beijing.published()) == 6


# --- sums -----------------------------------------------------------------------------------------


def run_of(*points, **more):
    """A record whose looks are (steps, seconds, quality)."""
    curve = [[s, t, 2 * t, q] for s, t, q in points]
    best = min(points, key=lambda p: p[2])
    ends = {"steps": points[-1][0], "cpu": points[-1][1], "wall": 2 * points[-1][1]}
    return {"seed": 1, **ends, "best": best[2], "best_steps": best[0], "test": 0.5, "curve": curve}


def test_what_is_not_reached_has_no_ratio_and_adds_a_row():
    slow = [run_of((1, 10.0, 0.9), (2, 20.0, 0.6)), run_of((1, 12.0, 0.5), (2, 24.0, 0.7))]
    quick = [run_of((1, 1.0, 0.5), (2, 2.0, 0.1)), run_of((1, 3.0, 0.4), (2, 6.0, 0.2))]
    found = summary.collect({"classic": slow, "course": quick}, {0.2: "a bar"}, True)
    assert [t["quality"] for t in found["targets"]] == [0.55, 0.2]
    assert all("curve" not in run for runs in found["runs"].values() for run in runs)
    best, bar = summary.summarise(found, "cpu")["rows"]
    assert best["why"] == summary.BEST_OF_NOTES and bar["why"] == "a bar"
    # one of two runs gets to the median of both, so the median time is beyond all runs
    assert best["costs"]["classic"] is None and best["costs"]["course"]["seconds"] == 2.0
    assert bar["costs"]["classic"] is None and bar["ratios"] == {"classic": None}
    assert bar["costs"]["course"] == {
        **{"runs": 2, "arrived": 2, "seconds": 4.0, "low": 2.0, "high": 6.0, "steps": 2}
    }


def test_ratios_are_of_medians_and_a_gpu_counts_wall_seconds():
    slow = [run_of((5, t, 0.1)) for t in (8.0, 10.0, 99.0)]
    quick = [run_of((5, t, 0.1)) for t in (1.0, 2.0, 4.0)]
    found = summary.collect({"classic": slow, "course": quick}, {0.2: ""}, True)
    (row,) = summary.summarise(found, "cpu")["rows"]
    assert row["ratios"]["classic"] == 5 and row["costs"]["classic"]["high"] == 99
    (row,) = summary.summarise(found, "wall")["rows"]
    assert row["costs"]["course"]["seconds"] == 4 and row["ratios"]["classic"] == 5
    two_of_three = [*quick[:2], run_of((5, 7.0, 0.9))]
    found = summary.collect({"classic": slow, "course": two_of_three}, {0.2: ""}, True)
    cost = summary.summarise(found, "cpu")["rows"][0]["costs"]["course"]
    assert (cost["arrived"], cost["seconds"], cost["high"]) == (2, 2, 2)
    assert page._cost(cost) == "2.0 s (1.0–2.0), 5 steps, 2 of 3 runs"


# --- from end to end ------------------------------------------------------------------------------


def descend(rate, limit):
    """A recipe that walks down from 1 by a rate."""

    def recipe(watch):
        watch.model = SimpleNamespace(at=1.0)
        watch.follow(lambda model: model.at, every=1, limit=limit)
        try:
            while True:
                burn(0.001)
                watch.model.at *= 1 - rate
                watch.tick()
        except EnoughError:
            return watch.model.at + 0.001

    return recipe


FAKE = Race(
    title="fake",
    measure="distance",
    form=".3f",
    at_most=True,
    targets={0.5: "half way", 0.1: ""},
    recipes={
        "classic": Recipe(descend(0.05, 20), "slow."),
        "course": Recipe(descend(0.5, 20), "quick."),
    },
)


@pytest.fixture
def fake(monkeypatch):
    """The race above in the place of sin → cos, run in this process."""
    for module in (benchmarks, __main__, page):
        monkeypatch.setattr(module, "race", lambda name: {"sincos": FAKE}[name])

    def start(name, recipe, seed, device):
        return __main__.run_recipe(name, recipe, seed, torch.device(device), False)

    monkeypatch.setattr(bench, "run_apart", lambda threads, quick: start)
    return start


def test_a_measurement_ends_in_both_files(fake, tmp_path, capsys):
    order = ["--only", "sincos", "--repeats", "2", "--device", "cpu", "--output", str(tmp_path)]
    assert bench.main(order) == 0
    content = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert text == page.render(content) and "No GPU was available for this run." in text
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == ["sincos classic", "sincos course"] * 2
    rows = content["benchmarks"]["sincos"]["devices"]["cpu"]["summary"]["rows"]
    # 0.95^14 < 0.5, 0.95^20 = 0.358, 0.5^4 < 0.1
    assert [row["quality"] for row in rows] == [0.5, pytest.approx(0.95**20, rel=1e-5), 0.1]
    steps = [{name: c and c["steps"] for name, c in row["costs"].items()} for row in rows]
    assert steps == [
        {"classic": 14, "course": 1},
        {"classic": 20, "course": 2},
        {"classic": None, "course": 4},
    ]
    assert "| … distance ≤ 0.100 | not reached |  | " in text and "(half way)" in text
    assert "Of the 2 qualities that were set in advance, the notes' recipes reach 1" in text


def test_other_benchmarks_are_kept_and_a_gpu_gets_its_column(fake, tmp_path):
    order = ["--only", "sincos", "--repeats", "1", "--device", "cpu", "--output", str(tmp_path)]
    old = {"benchmarks": {"loading": loading_entry()}}
    (tmp_path / "benchmarks.json").write_text(json.dumps(old), encoding="utf-8")
    assert bench.main(order) == 0
    content = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert list(content["benchmarks"]) == ["sincos", "loading"]
    entry = content["benchmarks"]["sincos"]
    entry["devices"]["cuda"] = copy.deepcopy(entry["devices"]["cpu"])
    entry["conditions"]["gpu"] = "Some GPU"
    text = page.render(content)
    assert "on the GPU, wall seconds" in text and "No GPU" not in text
    assert "2 cores, Some GPU" in text.replace(f"{entry['conditions']['cores']} cores", "2 cores")
    assert re.search(r"\| notes [\d.]+ s, 14 steps; course [\d.]+ s, 1 steps \|", text)


def loading_entry():
    runs = [{"seed": 1, "images": 64, "seconds": {w: 1.0 + i for i, w in enumerate(loading.WAYS)}}]
    facts = bench.conditions(1, 1, ["cpu"], False)
    return {"conditions": facts, "runs": runs, "summary": summary.summarise_loading(runs)}


def test_a_trial_does_not_touch_the_docs(fake, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "QUICK", tmp_path / "quick")
    monkeypatch.setattr(bench, "DOCS", tmp_path / "docs")
    assert bench.main(["--only", "sincos", "--repeats", "1", "--quick", "--device", "cpu"]) == 0
    assert (tmp_path / "quick" / "benchmarks.md").exists() and not (tmp_path / "docs").exists()
    text = (tmp_path / "quick" / "benchmarks.md").read_text(encoding="utf-8")
    assert "sincos (a few steps only)" in text


def test_missing_optional_data_are_said(tmp_path):
    entry = bench.measure_beijing([1], ["cpu"], lambda *_: None)
    entry["conditions"] = bench.conditions(1, 1, ["cpu"], False)
    assert "The optional data were not here" in page.render({"benchmarks": {"beijing": entry}})


def test_a_real_run_in_a_process_of_its_own():
    record = bench.run_apart(1, quick=True)("sincos", "classic", 3, "cpu")
    assert record["seed"] == 3 and record["steps"] == __main__.QUICK_STEPS
    assert [point[0] for point in record["curve"]] == [20, 40, 60] and record["cpu"] > 0
    assert 0 < record["test"] < 10


def test_starts_are_repeated_and_the_median_counts(monkeypatch):
    seconds = iter([1.0, 9.0, 2.0, 7.0, 30.0, 8.0])

    def start(chapter, threads):
        return {"chapter": chapter.stem, "kernel": next(seconds), "script": 1.0}

    monkeypatch.setattr(startup, "run", start)
    found = bench.measure_startup(find_chapters(["01", "02"]), 3, 1)
    kernels = {name: row["kernel"] for name, row in found["summary"]["chapters"].items()}
    assert list(kernels.values()) == [2.0, 8.0]
    assert found["summary"]["median"] == 4.0


def test_a_script_and_a_kernel_start(tmp_path):
    """As a script only: the kernels are tested with utils.run."""
    chapter = find_chapters(["01"])[0]
    env = {"PATH": "", "PYTHONPATH": str(repository_root())}
    seconds = startup._as_script(
        chapter, ["DEVICE = 'auto'", "assert DEVICE == 'cpu'"], tmp_path, env
    )
    assert 0 < seconds < 60
    with pytest.raises(CourseError, match="does not run as a script: ZeroDivisionError"):
        startup._as_script(chapter, ["", "1 / 0"], tmp_path, env)


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "nonsense"], "There is no benchmark 'nonsense': choose among regression,"),
        (["--threads", "0"], "--repeats and --threads must be at least 1."),
        (["--repeats", "0"], "--repeats and --threads must be at least 1."),
    ],
)
def test_a_wrong_order_ends_in_one_sentence(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "run_apart", lambda *_: lambda *_: pytest.fail("it measures"))
    assert bench.main([*arguments, "--output", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}") and len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(capsys, tmp_path):
    assert bench.main(["--device", "cuda", "--output", str(tmp_path)]) == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_damaged_results_are_not_overwritten(fake, tmp_path, capsys):
    (tmp_path / "benchmarks.json").write_text("{", encoding="utf-8")
    assert bench.main(["--only", "sincos", "--device", "cpu", "--output", str(tmp_path)]) == 2
    assert "benchmarks.json is damaged" in capsys.readouterr().err
    assert (tmp_path / "benchmarks.json").read_text(encoding="utf-8") == "{"


def test_a_run_that_fails_says_which(monkeypatch):
    def failing(command, **_):
        assert command[:4] == [sys.executable, "-m", "tools.benchmarks", "lenet"]
        return subprocess.CompletedProcess(command, 2, "", "noise\nerror: The loss is nan.\n")

    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(CourseError, match="lenet course with seed 7 has failed: The loss is nan."):
        bench.run_apart(1, False)("lenet", "course", 7, "cpu")


def test_an_unknown_recipe(capsys):
    with pytest.raises(CourseError, match="sincos has no recipe 'modern': choose among classic"):
        __main__.run_recipe("sincos", "modern", 1, CPU, True)
