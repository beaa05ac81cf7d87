"""The checker accepts a good chapter and names what is wrong with each bad one.

The bad chapters are one good chapter with one change each; those whose very bytes matter are files
in ``fixtures/``.
"""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nbformat import v4

from utils import checker, notebooks
from utils import refresh as refresher
from utils.checker import check_notebook
from utils.notebooks import (
    find_chapters,
    headings_of,
    normalise,
    notebook_text,
    parameters_of,
    read_notebook,
    results_of,
    write_notebook,
)
from utils.refresh import execute, refresh
from utils.runtime import CourseError
from utils.scoreboard import RESULTS_MIME

FIXTURES = Path(__file__).parent / "fixtures"
NAME = "05_good"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
OPENING = """# 05 · A good chapter

Passengers come and go.

**You will learn** what a good chapter looks like.

**You need**: chapters 1 to 4.

**Runs in** about 12 seconds on two CPU cores."""
SECTION = (
    """## Sums, and links

> **From the notes · E-03, E-88.** The study notes say that a sum is a product.

See [above](#Sums,-and-links), [this page](05_good.ipynb#Summary) and [arXiv](https://arxiv.org).
"""
    + "one two three four " * 300
)
RESULT = {"metric": "error", "passed": True, "headline": True}
PAYLOAD = {
    "chapter": NAME,
    "device": "cpu",
    "seed": 42,
    "metrics": {"error": 0.25},
    "results": [RESULT],
}


def text_cell(name, source):
    return v4.new_markdown_cell(source, id=name)


def code_cell(name, source, outputs=(), tags=()):
    metadata = {"tags": list(tags)} if tags else {}
    return v4.new_code_cell(source, id=name, outputs=list(outputs), metadata=metadata)


def printed(text, name="stdout"):
    return v4.new_output("stream", name=name, text=text)


def picture(mime="image/png", **metadata):
    data = {mime: PIXEL, "text/plain": "Figure: a rising line"}
    return v4.new_output("display_data", data, metadata={mime: metadata})


def results_output(**changes):
    text = "error  0.25\nVerified on 2026-11-21 with torch 2.15.0."
    return v4.new_output("display_data", {RESULTS_MIME: PAYLOAD | changes, "text/plain": text})


def good_chapter():
    """A chapter that is right in all respects."""
    ignored = ["nbval-ignore-output"]
    nb = v4.new_notebook(metadata=notebooks.METADATA)
    nb.cells = [
        text_cell("title", OPENING),
        code_cell("parameters", 'DEVICE = "auto"  # or "cpu"\nSEED = 42', tags=["parameters"]),
        code_cell("set-up", f'board = Scoreboard("{NAME}", device=DEVICE, seed=SEED)'),
        text_cell("section", SECTION),
        code_cell("sum", "print(1 + 1)", [printed("2\n")]),
        code_cell("fit", "error = fit()\nprint(error)", [printed("0.25\n")], ignored),
        code_cell("bound", "assert error < 0.5"),
        code_cell("figure", 'show("a rising line")', [picture(alt="a rising line")]),
        text_cell("results-heading", "## Results"),
        code_cell("results", "board.finish()", [results_output()], ignored),
        text_cell("summary", "## Summary\n\nSums are sums."),
        text_cell("exercises", "## Exercises\n\nIn preparation."),
        text_cell("references", "## References\n\nNobody (2026)."),
    ]
    return renumbered(nb)


def renumbered(nb):
    for count, cell in enumerate((c for c in nb.cells if c.cell_type == "code"), 1):
        cell.execution_count = count
    return nb


def cell(nb, name):
    return next(c for c in nb.cells if c.id == name)


def insert(nb, after, *cells):
    position = nb.cells.index(cell(nb, after)) + 1
    nb.cells[position:position] = cells
    renumbered(nb)


def stored(nb, folder):
    path = folder / f"{NAME}.ipynb"
    path.write_text(notebook_text(nb), encoding="utf-8")
    return path


def test_the_good_chapter_is_accepted(tmp_path):
    assert check_notebook(stored(good_chapter(), tmp_path)) == []


def output_of(name, *outputs):
    def change(nb):
        cell(nb, name).outputs = list(outputs)

    return change


def source_of(name, source):
    def change(nb):
        cell(nb, name).source = source

    return change


def replaced(name, old, new):
    def change(nb):
        assert old in cell(nb, name).source
        cell(nb, name).source = cell(nb, name).source.replace(old, new)

    return change


def tagged(name, *tags):
    def change(nb):
        cell(nb, name).metadata["tags"] = list(tags)

    return change


def with_value(name, key, value):
    def change(nb):
        cell(nb, name)[key] = value

    return change


def with_notebook_value(key, value):
    def change(nb):
        nb[key] = value

    return change


def without(name):
    def change(nb):
        nb.cells.remove(cell(nb, name))
        renumbered(nb)

    return change


def inserted(after, *make):
    def change(nb):
        insert(nb, after, *(m() for m in make))

    return change


def many(count, lines):
    def change(nb):
        for i in range(count):
            insert(nb, "sum", code_cell(f"more-{i}", "\n".join(["x = 1"] * lines)))

    return change


def too_long(nb):
    """One cell of 26 lines among so many short ones that the percentiles hold."""
    many(5, 1)(nb)
    insert(nb, "sum", code_cell("long", "x = 1\n" * 26))


def unfollowed(nb):
    """An ignored cell whose assertion comes after the next ignored cell."""
    again = code_cell("again", "fit()", [printed("0.3\n")], ["nbval-ignore-output"])
    insert(nb, "fit", again)


def summary_first(nb):
    nb.cells.insert(3, nb.cells.pop(nb.cells.index(cell(nb, "summary"))))


BAD = {
    # the run
    "unexecuted": (with_value("sum", "execution_count", None), "Cell 5 was not executed"),
    "out of order": (with_value("sum", "execution_count", 9), "Cell 5 was executed out of order"),
    "gap": (with_value("results", "execution_count", 8), "Cell 10 was executed out of order"),
    "empty cell": (source_of("sum", " \n"), "Cell 5 is an empty code cell"),
    "error output": (
        output_of("sum", v4.new_output("error", ename="KeyError", evalue="", traceback=["x"])),
        "Cell 5 stores an error: KeyError",
    ),
    "stderr": (output_of("sum", printed("careful\n", "stderr")), "Cell 5 writes to stderr"),
    "warning": (
        output_of("sum", printed("lesson.py:3: UserWarning: beware\n  warn()\n")),
        "output of cell 5 shows a stored warning",
    ),
    "traceback": (
        output_of("sum", printed("Traceback (most recent call last):\n  ...\n")),
        "output of cell 5 shows a traceback",
    ),
    "progress bar": (
        output_of("sum", printed("\r 50%|█████     | 1/2 [00:00<00:00,  9.99it/s]")),
        "output of cell 5 shows the debris of a progress bar",
    ),
    "widget": (
        output_of(
            "sum",
            v4.new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}}),
        ),
        "Cell 5 stores the debris of a progress bar",
    ),
    # leaks
    "path": (output_of("sum", printed("saved to /home/me/x.pt\n")), "output of cell 5 .* path"),
    "path in html": (
        output_of("sum", v4.new_output("execute_result", {"text/html": "<p>/tmp/a1</p>"})),
        "output of cell 5 .* path",
    ),
    "path in the source": (source_of("sum", 'open("/root/x.pt")'), "Cell 5 names an absolute path"),
    "path in the text": (replaced("summary", "Sums", "/work/x"), "Cell 11 names an absolute path"),
    "path of Windows": (
        output_of("sum", printed(r"C:\Users\me")),
        "cell 5 shows a path of Windows",
    ),
    "package index": (
        replaced("summary", "Sums", "https://pypi.org"),
        "address of a package index",
    ),
    "address": (
        output_of("sum", printed("<function f at 0x7f1c2d3e4f50>")),
        "output of cell 5 shows an address",
    ),
    # the format
    "another kernel": (
        with_notebook_value("metadata", {"kernelspec": {"name": "julia", "display_name": "J"}}),
        "kernel is not python3",
    ),
    "metadata": (
        with_notebook_value("metadata", notebooks.METADATA | {"widgets": {}}),
        "metadata hold more",
    ),
    "cell metadata": (
        with_value("sum", "metadata", {"collapsed": True}),
        "Cell 5 has leftover metadata: collapsed",
    ),
    "old format": (with_notebook_value("nbformat_minor", 4), "format is 4.4"),
    "missing id": (lambda nb: cell(nb, "sum").pop("id"), "Cell 5 has no id"),
    "duplicate id": (with_value("bound", "id", "sum"), "Cell 7 has the id of another cell: sum"),
    "invalid id": (with_value("sum", "id", "a b"), "not a notebook in format 4: 'a b' does not"),
    "raw cell": (inserted("sum", lambda: v4.new_raw_cell("x", id="raw")), "Cell 6 is neither"),
    "raises-exception": (tagged("sum", "raises-exception"), "Cell 5 is tagged raises-exception"),
    "unknown tag": (tagged("sum", "skip"), "Cell 5 has the unknown tag 'skip'"),
    # the sections
    "wrong number": (replaced("title", "# 05", "# 06"), "title '# 05 ·"),
    "no title": (replaced("title", "# 05 · A good chapter", ""), "title '# 05 ·"),
    "no aims": (replaced("title", "You will learn", "Learn"), "You will learn"),
    "no needs": (replaced("title", "You need", "Needs"), "You need"),
    "no time": (replaced("title", "about 12", "some"), "Runs in about N"),
    "no results section": (source_of("results-heading", "Results"), "'## Results' is missing"),
    "no summary": (
        without("summary"),
        "'## Summary' is missing|leads nowhere: 05_good.ipynb#Summary",
    ),
    "no exercises": (without("exercises"), "'## Exercises' is missing"),
    "no references": (without("references"), "'## References' is missing"),
    "summary first": (summary_first, "does not end with the sections"),
    "two titles": (replaced("summary", "Sums", "# Another\n\nSums"), "There are 2 titles"),
    "repeated heading": (
        replaced("summary", "Sums", "### Results\n\nSums"),
        "Cell 11 repeats the heading 'Results'",
    ),
    "numbered heading": (
        replaced("summary", "Sums", "### 2. More\n\nSums"),
        "Cell 11 numbers the heading",
    ),
    "box without id": (
        replaced("section", "From the notes · E-03, E-88.", "From the notes."),
        "Cell 4 does not start its box",
    ),
    "box with a bad id": (replaced("section", "E-88", "E88"), "Cell 4 does not start its box"),
    "dangling anchor": (replaced("section", "#Sums,", "#Sum,"), "Cell 4 .* leads nowhere: #Sum,"),
    "dangling page": (
        replaced("section", "05_good.ipynb#", "04_gone.ipynb#"),
        "Cell 4 .* leads nowhere: 04_gone",
    ),
    "dangling anchor elsewhere": (
        replaced("section", "#Summary", "#Summaries"),
        "Cell 4 .* leads nowhere: 05_good.ipynb#Summaries",
    ),
    # parameters
    "no parameters": (tagged("parameters"), "must be tagged parameters"),
    "late parameters": (inserted("title", lambda: code_cell("x", "x = 1")), "must be tagged param"),
    "computed parameter": (replaced("parameters", "42", "6 * 7"), "may only say NAME = value"),
    "no seed": (
        source_of("parameters", 'DEVICE = "auto"'),
        "has no SEED",
    ),
    "another seed": (replaced("parameters", "42", "7"), "committed SEED is 7 instead of 42"),
    "another device": (replaced("parameters", '"auto"', '"cuda"'), "committed DEVICE is 'cuda'"),
    "unused parameter": (
        replaced("parameters", "SEED", 'PROFILE = "quick"\nSEED'),
        "PROFILE is never used",
    ),
    # results
    "another chapter's scoreboard": (
        replaced("set-up", NAME, "06_bad"),
        "Cell 3 makes the scoreboard of '06_bad' instead of '05_good'",
    ),
    "no scoreboard": (source_of("set-up", "print(DEVICE, SEED)"), "makes 0 scoreboards"),
    "not finished": (source_of("results", "assert board"), "must call board.finish"),
    "finished untagged": (tagged("results"), "Cell 10 shows the results and is not tagged"),
    "no results": (
        output_of("results", printed("Verified on 2026-11-21")),
        "hold 0 sets of results",
    ),
    "results twice": (output_of("results", *[results_output()] * 2), "hold 2 sets of results"),
    "results of another chapter": (
        output_of("results", results_output(chapter="06_bad")),
        "stores the results of chapter '06_bad'",
    ),
    "results of another seed": (output_of("results", results_output(seed=7)), "with the seed 7"),
    "missed bar": (
        output_of("results", results_output(results=[RESULT | {"passed": False}])),
        "stores missed bars: error",
    ),
    "no headline": (
        output_of("results", results_output(results=[RESULT | {"headline": False}])),
        "exactly one headline",
    ),
    "not verified": (
        output_of("results", v4.new_output("display_data", {RESULTS_MIME: PAYLOAD})),
        "Verified on",
    ),
    # sizes
    "too many cells": (many(48, 1), "There are 61 cells"),
    "too long a cell": (too_long, "Cell 6 has 26 lines of code"),
    "long cells": (many(9, 7), "the median may be 6"),
    "several long cells": (many(2, 16), "A tenth of the code cells have 16 lines"),
    "few words": (replaced("section", "one two three four ", ""), "words of text, not"),
    "many words": (replaced("section", "one two", "a b c d e f g one two"), "words of text"),
    "large file": (
        output_of("sum", printed("-" * 430_000)),
        "The file has 4.. kB",
    ),
    # figures
    "plt.show": (inserted("sum", lambda: code_cell("x", "plt.show()")), "Cell 6 calls plt.show"),
    "picture without alt": (output_of("figure", picture()), "Cell 8 shows a picture without"),
    "picture with empty alt": (
        output_of("figure", picture(alt=" ")),
        "Cell 8 shows a picture without",
    ),
    "svg": (output_of("figure", picture("image/svg+xml", alt="x")), "Cell 8 shows an SVG"),
    "picture in text without alt": (
        replaced("section", "See ", "![](05_good.ipynb) See "),
        "Cell 4 shows the picture 05_good.ipynb without",
    ),
    # assertions
    "ignored without assertion": (
        source_of("bound", "error < 0.5"),
        "Cell 6 is tagged nbval-ignore-output, and no assertion",
    ),
    "assertion too late": (
        inserted("fit", lambda: code_cell("x", "x = 1"), lambda: code_cell("y", "y = 1")),
        "Cell 6 is tagged nbval-ignore-output, and no assertion",
    ),
    "assertion for the next ignored cell": (unfollowed, "Cell 6 is tagged nbval-ignore-output"),
    "assert True": (source_of("sum", "assert True"), "Cell 5 holds an assertion that cannot fail"),
    "assert a tuple": (
        source_of("sum", 'assert (1 > 2, "x")'),
        "Cell 5 holds an assertion that cannot fail",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_chapter_is_rejected_for_its_defect_alone(case, tmp_path):
    change, expected = BAD[case]
    nb = good_chapter()
    change(nb)

    problems = check_notebook(stored(nb, tmp_path))

    assert problems
    assert [p for p in problems if not re.search(expected, p)] == []
    assert all(p.endswith(".") and "\n" not in p for p in problems)


@pytest.mark.parametrize(
    "source",
    [
        "torch.testing.assert_close(error, 0.25)",
        "for e in errors:\n    assert e < 1",
    ],
)
def test_what_counts_as_an_assertion(source, tmp_path):
    nb = good_chapter()
    cell(nb, "bound").source = source
    assert check_notebook(stored(nb, tmp_path)) == []


def test_what_looks_bad_and_is_not(tmp_path):
    nb = good_chapter()
    cell(nb, "fit").outputs = [printed("<function f at 0x7f1c2d3e4f50>")]  # an ignored cell may
    cell(nb, "sum").outputs = [printed("UserWarning: shown on purpose\n0xff, 50 %, 1/2/3\n")]
    cell(nb, "sum").source = "%matplotlib inline\nprint(1 + 1)"
    cell(nb, "section").source += (
        "\n\nSee https://example.org/home/page, `[x](y)`, $[a](b)$ and the PyPI.\n"
        "\n```python\n# Results\n[x](y)\n```\n"
    )
    assert check_notebook(stored(nb, tmp_path)) == []


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("not_json", "is not JSON"),
        ("truncated", "is not JSON .line 9 of the file: Unterminated string"),
        ("empty", "is not JSON"),
        ("not_a_notebook", "is JSON, but not a notebook"),
        ("format_3", "is JSON, but not a notebook in format 4: it does not say 'nbformat: 4'"),
        ("cells_are_strings", "is JSON, but not a notebook in format 4: 'print.1.' is not"),
        ("no_metadata", "is JSON, but not a notebook in format 4: 'metadata' is a required"),
        ("not_utf8", "is not a text file"),
        ("missing", "cannot be read: No such file"),
    ],
)
def test_a_broken_file_is_described_in_one_sentence(file, expected):
    path = FIXTURES / f"{file}.ipynb"
    with pytest.raises(CourseError, match=expected):
        read_notebook(path)
    (problem,) = check_notebook(path)
    assert problem.startswith(f"{file}.ipynb ")


def test_reading_repairs_nothing(tmp_path):
    nb = good_chapter()
    cell(nb, "bound").id = "sum"
    assert [c.id for c in read_notebook(stored(nb, tmp_path)).cells].count("sum") == 2


def test_what_a_notebook_says():
    nb = good_chapter()
    assert parameters_of(nb) == {"DEVICE": "auto", "SEED": 42}
    assert results_of(nb) == PAYLOAD
    assert headings_of(nb)[:2] == [(1, "05 · A good chapter", 1), (2, "Sums, and links", 4)]
    nb.cells = []
    assert parameters_of(nb) == {}
    assert results_of(nb) is None


# --- normalising and writing ----------------------------------------------------------------------


def messy_chapter():
    nb = good_chapter()
    nb.metadata = {"kernelspec": {"name": "venv", "display_name": "x"}, "widgets": {"a": 1}}
    nb.nbformat_minor = 4
    cell(nb, "sum").update(
        source="print(1)\n\n",
        metadata={"execution": {"iopub.status.busy": "2026"}, "tags": []},
        outputs=[printed("a"), printed("b"), printed("c", "stderr"), printed("d")],
    )
    cell(nb, "figure").outputs = [picture(alt="a line", needs_background="light")]
    cell(nb, "bound").id = "sum"
    del cell(nb, "title")["id"]
    return nb


def test_normalising_removes_what_differs_for_no_reason():
    clean = normalise(messy_chapter())

    assert clean.metadata == notebooks.METADATA
    assert clean.nbformat_minor == 5
    assert len({c.id for c in clean.cells}) == len(clean.cells)
    assert re.fullmatch("[0-9a-f]{8}", clean.cells[0].id)
    assert cell(clean, "sum").source == "print(1)"
    assert cell(clean, "sum").metadata == {}
    assert [o.text for o in cell(clean, "sum").outputs] == ["ab", "c", "d"]
    assert cell(clean, "figure").outputs[0].metadata == {"image/png": {"alt": "a line"}}


def test_normalising_twice_is_normalising_once_and_leaves_the_argument_alone():
    messy = messy_chapter()
    before = notebook_text(messy)
    once = normalise(messy)
    assert notebook_text(normalise(once)) == notebook_text(once)
    assert notebook_text(messy) == before
    good = good_chapter()
    assert notebook_text(normalise(good)) == notebook_text(good)


def test_a_written_notebook_reads_back(tmp_path):
    path = tmp_path / "x.ipynb"
    write_notebook(good_chapter(), path)
    assert read_notebook(path) == good_chapter()
    assert path.read_bytes().endswith(b"}\n")
    assert "·" in path.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [path]


def half_written(self, text, **_):
    with self.open("w") as file:
        file.write(text[:100])
    raise OSError(errno.ENOSPC, "No space left on device")


def never_replaced(self, target):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("method", "failing", "error"),
    [("write_text", half_written, OSError), ("replace", never_replaced, KeyboardInterrupt)],
)
def test_a_write_that_is_cut_short_leaves_the_old_file(
    method, failing, error, tmp_path, monkeypatch
):
    path = stored(good_chapter(), tmp_path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, method, failing)
        with pytest.raises(error):
            write_notebook(messy_chapter(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# --- finding --------------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course with three chapters that do nothing."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("02_autograd", "01_tensors", "12_lstm"):
        write_notebook(v4.new_notebook(), folder / f"{name}.ipynb")
    (folder / "draft.ipynb").write_text("not a chapter")
    monkeypatch.setattr(notebooks, "repository_root", lambda: tmp_path)
    return folder


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (None, "01 02 12"),
        ([], "01 02 12"),
        ([""], "01 02 12"),
        (["12 1"], "01 12"),
        (["02,01", "2"], "01 02"),
        (["01_tensors.ipynb"], "01"),
        (["notebooks/12_lstm.ipynb"], "12"),
    ],
)
def test_chapters_are_found_in_their_order(selection, expected, course):
    assert " ".join(path.stem[:2] for path in find_chapters(selection)) == expected


@pytest.mark.parametrize("selection", ["3", "0", "tensors", "01_tensor", "1 13", "draft", "*"])
def test_an_unknown_chapter_is_named_beside_those_there_are(selection, course):
    with pytest.raises(CourseError, match="no chapter .* among 01_tensors, 02_autograd, 12_lstm"):
        find_chapters([selection])


def test_a_folder_without_chapters_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "repository_root", lambda: tmp_path)
    with pytest.raises(CourseError, match="no chapters"):
        find_chapters()


# --- executing and refreshing ---------------------------------------------------------------------

SHOW_RESULTS = f"""from IPython.display import display
display({{"{RESULTS_MIME}": {{"metrics": {{"error": 0.125}}, "results": []}}, "text/plain": "x"}}, raw=True)"""


def chapter_of(*sources):
    nb = v4.new_notebook(cells=[code_cell(f"c{i}", s) for i, s in enumerate(sources)])
    return renumbered(nb)


def test_a_kernel_is_of_this_environment_whatever_is_installed(tmp_path, monkeypatch):
    foreign = tmp_path / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    (foreign / "kernel.json").write_text(
        '{"argv": ["false"], "display_name": "foreign", "language": "python"}'
    )
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ["COURSE_HEADLESS", "COURSE_PREFIX", "OMP_NUM_THREADS"]
    nb = chapter_of(
        "import os, sys",
        f"print(sys.executable, os.getcwd(), *map(os.environ.get, {names}), sep='\\n')",
    )

    seconds = execute(nb, tmp_path)

    shown = nb.cells[1].outputs[0].text.splitlines()
    assert shown == [sys.executable, str(tmp_path.resolve()), "1", sys.prefix, "1"]
    assert list(seconds) == [1, 2]


def test_a_refreshed_chapter_tells_what_changed(course, capsys):
    nb = chapter_of("print(1)", SHOW_RESULTS)
    nb.cells[1].outputs = [results_output()]
    nb.cells[0].execution_count = 17
    path = course / "01_tensors.ipynb"
    write_notebook(nb, path)

    assert refresher.main(["--chapters", "1"]) == 0

    assert re.fullmatch(r"01_tensors: \d+ s; error 0.25 → 0.125\n", capsys.readouterr().out)
    fresh = read_notebook(path)
    assert [c.execution_count for c in fresh.cells] == [1, 2]
    assert fresh.cells[0].outputs[0].text == "1\n"
    assert notebook_text(normalise(fresh)).encode() == path.read_bytes()
    lines = []
    assert refresh([path], say=lines.append) == []
    assert "results as before" in lines[0]


@pytest.mark.parametrize(
    ("source", "timeout", "expected"),
    [
        ("1 / 0", 60, "Cell 2 raises ZeroDivisionError: division by zero"),
        ("import time\ntime.sleep(60)", 1, r"Cell 2 ran longer than 1 s\."),
        ("import os\nos._exit(1)", 60, "The kernel died in cell 2"),
    ],
)
def test_a_failing_chapter_is_left_as_it_was(source, timeout, expected, course, capsys):
    path = course / "12_lstm.ipynb"
    write_notebook(chapter_of("print(1)", source, "print(3)"), path)
    before = path.read_bytes()

    status = refresher.main(["--chapters", "12", "--timeout", str(timeout)])

    printed_text = capsys.readouterr()
    assert status == 1
    assert re.search(f"^error: 12_lstm is left as it was: {expected}", printed_text.err)
    assert printed_text.err.count("\n") == 1
    assert path.read_bytes() == before
    assert sorted(p.name for p in course.iterdir()) == [
        "01_tensors.ipynb",
        "02_autograd.ipynb",
        "12_lstm.ipynb",
        "draft.ipynb",
    ]


def test_one_failure_does_not_stop_the_others(course, monkeypatch):
    (course / "01_tensors.ipynb").write_text("{")
    lines = []
    failures = refresh(find_chapters(["1", "2"]), say=lines.append)
    assert len(failures) == 1
    assert "01_tensors.ipynb is not JSON" in failures[0]
    assert lines[0].startswith("02_autograd: ")


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal of Unix")
def test_an_interrupted_refresh_leaves_the_chapter_and_no_kernel(tmp_path):
    marker, path = tmp_path / "kernel.pid", tmp_path / "notebooks" / "01_x.ipynb"
    path.parent.mkdir()
    source = f"import os, time\nopen({str(marker)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    write_notebook(chapter_of(source), path)
    before = path.read_bytes()
    program = f"""if True:
        import pathlib, signal, sys
        from utils import notebooks, refresh
        signal.signal(signal.SIGINT, signal.default_int_handler)
        notebooks.repository_root = lambda: pathlib.Path({str(tmp_path)!r})
        sys.exit(refresh.main([]))"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: marker.exists() and marker.read_text())
    process.send_signal(signal.SIGINT)

    _, errors = process.communicate(timeout=30)

    assert process.returncode == 130
    assert errors == "Interrupted; no notebook is half written.\n"
    assert path.read_bytes() == before
    wait_until(lambda: not is_alive(int(marker.read_text())))


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- the command line -----------------------------------------------------------------------------


def test_check_lists_the_problems_and_says_how_many_are_in_order(tmp_path, capsys):
    good = stored(good_chapter(), tmp_path)
    assert checker.main([str(good)]) == 0
    assert capsys.readouterr().out == "1 of 1 notebooks are in order.\n"

    assert checker.main([str(good), str(FIXTURES / "truncated.ipynb")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("truncated.ipynb is not JSON")
    assert lines[1:] == ["1 of 2 notebooks are in order."]

    bad = good_chapter()
    cell(bad, "sum").execution_count = None
    assert checker.main([str(stored(bad, tmp_path))]) == 1
    assert capsys.readouterr().out.startswith(f"{NAME}.ipynb: Cell 5 was not executed.\n")


def test_an_unknown_chapter_is_misuse(course, capsys):
    assert refresher.main(["--chapters", "1 99"]) == 2
    assert capsys.readouterr().err.startswith("error: There is no chapter '99'")


@pytest.mark.parametrize(
    ("main", "arguments"),
    [
        (refresher.main, ["frobnicate"]),
        (refresher.main, ["--timeout", "0"]),
        (checker.main, ["--all"]),
    ],
)
def test_a_wrong_command_line_is_misuse(main, arguments, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_as_a_program_it_shows_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "utils.checker", str(FIXTURES / "not_a_notebook.ipynb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "not a notebook" in done.stdout
    assert done.stderr == ""
