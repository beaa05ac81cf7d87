"""``docs/benchmarks.md`` from ``docs/benchmarks.json``.

No number is written here, and no sentence that another run could make false.
"""

from __future__ import annotations

from typing import Any

from tools.benchmarks import NAMES, RACES, race
from tools.benchmarks.loading import WAYS
from tools.benchmarks.recipes import Race
from tools.benchmarks.summary import BEST_OF_NOTES

COLUMNS = {
    "classic": "the notes' recipe",
    "mended": "the notes', mended",
    "course": "the course's recipe",
}

HEAD = """# Time to quality

Made from `benchmarks.json` by `make bench`; do not edit. It measures, side by side in one run, how long the
recipes of the study notes and those of the course take to the same quality, what loading pictures costs, and
what it costs to start a chapter headless. The conditions are at the end.
"""

RACES_HEAD = """## Recipes to the same quality

Each run is a process of its own; recipes take turns, each round has a new seed for data and training, and the
table shows medians, with the range in brackets. **Seconds** are CPU seconds of all threads, from the raw data
in memory to the first look at which the validation quality is as good as the first column says. The looks come
at fixed numbers of steps, and their time is not counted. A run ends when it has reached all qualities of its
task, or with its recipe. Batches are cut from tensors in memory on both sides; loading has its own table below.
Finding the settings is not counted, on either side. What the recipes are is listed below the tables.
"""

ENDS_HEAD = """Where each recipe ends, by its best validation quality, and what the network at the end of the run reaches on
the test data, measured once:
"""

LOADING_HEAD = """## Loading pictures

One epoch over the {images:,} bundled digits, shuffled, in batches of 64, without any training: wall seconds, since workers
are processes of their own. The last column compares with `TensorBatches`.
"""

STARTUP_HEAD = """## Starting a chapter

Wall seconds (medians) until parameters and set-up, the first two code cells of a chapter, are done: in the headless
worker (papermill and a kernel) and as a plain Python script of the same code. Most of both is imports.
"""

BEIJING_HEAD = """## Beijing subway, 15 minutes

Chapter 12 forecasts the entries at 276 stations one step ahead, on the last five of 25 days. The published errors are those of the
table in that chapter (Zhang et al. 2021, arXiv:1912.12563; about half an hour on a GPU for ResLSTM). Seconds are CPU seconds of a
method's own part.
"""

CONDITIONS_HEAD = """## Conditions

*Load* is the mean number of programs that were running or waiting, in the minute before a benchmark began: above 0, others
shared the machine, which also lengthens CPU seconds, the more the higher it is. Ratios suffer less than seconds, since
the recipes take turns.
"""


def render(content: dict[str, Any]) -> str:
    """Return the page.

    Args:
        content: of ``benchmarks.json``; a benchmark that is not in it is named as missing.
    """
    found = content["benchmarks"]
    parts = [HEAD]
    races = {name: found[name] for name in RACES if name in found}
    if races:
        parts += _races(races)
    if beijing := found.get("beijing"):
        parts += _beijing(beijing)
    if "loading" in found:
        parts += _loading(found["loading"])
    if "startup" in found:
        parts += _startup(found["startup"]["summary"])
    if missing := [name for name in NAMES if name not in found]:
        parts.append(f"Not measured yet: {', '.join(missing)}.\n")
    parts += _conditions({name: found[name]["conditions"] for name in NAMES if name in found})
    return "\n".join(parts).rstrip("\n") + "\n"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown; the first column is text, the others numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def seconds(value: float) -> str:
    """Two significant digits below 10, none behind the point above: 0.083, 4.1, 37."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:#.2g}"


def times(ratio: float | None) -> str:
    """How many times as much, or a dash."""
    return "–" if ratio is None else f"{seconds(ratio)} ×"


def _quality(the_race: Race, value: float) -> str:
    return f"{value:{the_race.form}}".replace("%", " %")


def _test(the_race: Race, end: dict[str, float]) -> str:
    middle, low, high = (_quality(the_race, end[key]) for key in ("test", "test_low", "test_high"))
    return f"{middle} ({low}–{high})" if low != high else middle


def _races(found: dict[str, Any]) -> list[str]:
    gpu = any("cuda" in entry["devices"] for entry in found.values())
    rows, ends = [], []
    for name, entry in found.items():
        the_race, summary = race(name), entry["devices"]["cpu"]["summary"]
        for i, row in enumerate(summary["rows"]):
            other = entry["devices"].get("cuda", {}).get("summary", {"rows": []})["rows"]
            same = [r for r in other if (r["quality"], r["why"]) == (row["quality"], row["why"])]
            rows.append(_race_row(the_race, row, i == 0))
            if gpu:
                rows[-1].append(_on_gpu(same[0] if same else None))
        for recipe, end in summary["ends"].items():
            ends.append(
                [
                    f"{the_race.title}: {COLUMNS[recipe]}",
                    f"{end['steps']:,.0f}",
                    seconds(end["seconds"]),
                    f"{_quality(the_race, end['best'])} at step {end['best_steps']:,.0f}",
                    _test(the_race, end),
                ]
            )
    head = ["task and quality", *COLUMNS.values(), "notes / course", "mended / course"]
    head += ["on the GPU, wall seconds"] if gpu else []
    parts = [RACES_HEAD, table(head, rows), _conclusion(found)]
    parts.append("" if gpu else "No GPU was available for this run.\n")
    columns = ["task and recipe", "steps", "seconds", "best validation quality", "test"]
    parts += [ENDS_HEAD, table(columns, ends), "The recipes:\n"]
    lines = [
        f"- **{race(name).title}**, {race(name).measure}. "
        + " ".join(f"*{COLUMNS[r].capitalize()}*: {recipe.text}" for r, recipe in recipes.items())
        for name, recipes in ((name, race(name).recipes) for name in found)
    ]
    return [*(part for part in parts if part), "\n".join(lines) + "\n"]


def _race_row(the_race: Race, row: dict[str, Any], first: bool) -> list[str]:
    sign = "≤" if the_race.at_most else "≥"
    label = f"**{the_race.title}**: " if first else "… "
    label += f"{the_race.measure} {sign} {_quality(the_race, row['quality'])}"
    label += f" ({row['why']})" if row["why"] else ""
    cells = [_cost(row["costs"].get(name), name in row["costs"]) for name in COLUMNS]
    ratios = [times(row["ratios"][n]) if n in row["ratios"] else "" for n in ("classic", "mended")]
    return [label, *cells, *ratios]


def _cost(cost: dict[str, float] | None, tried: bool = True) -> str:
    if cost is None:
        return "not reached" if tried else ""
    text = f"{seconds(cost['seconds'])} s"
    if cost["runs"] > 1:
        text += f" ({seconds(cost['low'])}–{seconds(cost['high'])})"
    text += f", {cost['steps']:,.0f} steps"
    if cost["arrived"] < cost["runs"]:
        text += f", {cost['arrived']} of {cost['runs']} runs"
    return text


def _on_gpu(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    notes, course = (row["costs"].get(name) for name in ("classic", "course"))
    return f"notes {_cost(notes)}; course {_cost(course)}"


def _conclusion(found: dict[str, Any]) -> str:
    """What the numbers say, in words that follow them."""
    rows = [row for entry in found.values() for row in entry["devices"]["cpu"]["summary"]["rows"]]
    fixed = [row for row in rows if row["why"] != BEST_OF_NOTES]
    there = {
        name: sum(row["costs"][name] is not None for row in fixed) for name in ("classic", "course")
    }
    text = (
        f"Of the {len(fixed)} qualities that were set in advance, the notes' recipes reach "
        f"{there['classic']} and the course's {there['course']}. "
    )
    for name, words in (("classic", "the notes' recipes need"), ("mended", "mended, they need")):
        ratios = [row["ratios"][name] for row in rows if row["ratios"].get(name) is not None]
        if ratios:
            text += (
                f"Where both arrive, {words} {seconds(min(ratios))} to {seconds(max(ratios))} times "
                "the CPU seconds of the course's. "
            )
    return text.rstrip() + "\n"


def _range(row: dict[str, float]) -> str:
    return f" ({seconds(row['low'])}–{seconds(row['high'])})" if row["low"] < row["high"] else ""


def _loading(entry: dict[str, Any]) -> list[str]:
    summary, images = entry["summary"], entry["runs"][0]["images"]
    rows = [
        [
            WAYS[way],
            seconds(row["seconds"]) + _range(row),
            f"{row['images_per_second']:,.0f}",
            times(row["ratio"]),
        ]
        for way, row in summary.items()
    ]
    slow, quick = summary["pictures"], summary["slices"]
    text = (
        f"A `Dataset` of pictures takes {times(quick['ratio'] * slow['ratio'])} as long as rows cut from tensors, "
        f"and two workers started anew {times(summary['workers']['ratio'])}; at "
        f"{slow['images_per_second']:,.0f} and {quick['images_per_second']:,.0f} images a second the network decides "
        "whether one notices.\n"
    )
    head = ["way", "seconds an epoch", "images a second", "compared"]
    return [LOADING_HEAD.format(images=images), table(head, rows), text]


def _startup(summary: dict[str, Any]) -> list[str]:
    rows, whole = [], []
    for name, row in summary["chapters"].items():
        cells = [f"{row[key]:.1f}" for key in ("kernel", "script", "difference")]
        rows.append([name, *cells])
        if "kernel_whole" in row:
            cells = [f"{row[f'{key}_whole']:.1f}" for key in ("kernel", "script", "difference")]
            whole.append([f"{name}, all cells", *cells])
    text = (
        f"The headless start costs {summary['median']:.1f} seconds more than the script in the median chapter "
        f"({summary['low']:.1f} to {summary['high']:.1f}). The rows *all cells* run the chapter from top to bottom, and count the "
        "saving of the notebook and its page too.\n"
    )
    head = ["chapter", "in a kernel", "as a script", "difference"]
    return [STARTUP_HEAD, table(head, [*rows, *whole]), text]


def _beijing(entry: dict[str, Any]) -> list[str]:
    if "cpu" not in entry["devices"]:
        return [BEIJING_HEAD, "The optional data were not here for this run.\n"]
    summary = entry["devices"]["cpu"]["summary"]
    rows = [(value, f"{name} (published)", "", "") for name, value in summary["published"].items()]
    for name, row in summary["ours"].items():
        cost = seconds(row["cpu"]) if "cpu" in row else ""
        spread = f"{row['low']:.2f}–{row['high']:.2f}"
        rows.append((row["wmape"], name, spread if row["low"] < row["high"] else "", cost))
    rows.sort(key=lambda row: -row[0])
    lines = [[name, f"{error:.2f}", spread, cost] for error, name, spread, cost in rows]
    ours, best = summary["ours"]["shared LSTM"]["wmape"], min(summary["published"].values())
    text = (
        f"The lowest published error is {best:.2f} %, that of the course's network {ours:.2f} %, after {summary['steps']:,.0f} steps; "
        f"from the counts to the forecasts of all methods it takes {seconds(summary['cpu'])} CPU seconds. *Poisson noise* is what "
        "would be left if passengers came independently and their mean were known.\n"
    )
    if gpu := entry["devices"].get("cuda"):
        wall = seconds(gpu["summary"]["wall"])
        text = text.rstrip() + f" On the GPU: {wall} wall seconds.\n"
    return [BEIJING_HEAD, table(["method", "WMAPE in %", "range", "seconds"], lines), text]


def _conditions(found: dict[str, dict[str, Any]]) -> list[str]:
    rows = []
    for name, facts in found.items():
        machine = f"{facts['architecture']}, {facts['cores']} cores"
        machine += f", {facts['gpu']}" if facts["gpu"] else ""
        load = "" if facts["load"] is None else f"{facts['load']:.1f}"
        versions = f"{facts['python']}, {facts['torch']}"
        rows.append(
            [
                name + (" (a few steps only)" if facts["quick"] else ""),
                *(facts["date"], machine, versions),
                *(str(facts["threads"]), str(facts["repeats"]), load),
            ]
        )
    head = ["benchmark", "date", "machine", "Python, torch", "threads", "runs", "load"]
    return [CONDITIONS_HEAD, table(head, rows)]
