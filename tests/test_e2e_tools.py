"""What `make e2e` relies on notices faults: in pages, in links, in notebooks that were run."""

import json
import shutil

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools.e2e.__main__ import main
from tools.e2e.browser import NAMES, find_chromium
from tools.e2e.lab import problems_of_run
from tools.e2e.report import Report, listed
from tools.e2e.servers import static
from tools.e2e.site import Seen, broken_links
from utils.runtime import CourseError

# --- the report -----------------------------------------------------------------------------------


def test_a_failing_step_is_noted_and_the_next_one_goes_on(tmp_path, capsys):
    report, pictures = Report(tmp_path), []
    with report.step("Chapter 01: runs!", pictures.append):
        raise TimeoutError("nothing came\nwithin a minute\nand more")
    with report.step("tables", pictures.append) as step:
        step.expect(True, "never said")
        step.expect(False, "no table")
        step.note(tables=0)
    with report.step("figures", pictures.append) as step:
        step.note(figures=3)
    report.save()
    content = json.loads((tmp_path / "report.json").read_text())
    assert [s["problems"] for s in content["steps"]] == [
        ["TimeoutError: nothing came within a minute"],
        ["no table"],
        [],
    ]
    assert content["passed"] is False
    assert content["steps"][2]["seen"] == {"figures": 3}
    assert [path.name for path in pictures] == [
        "failed-chapter-01-runs.png",
        "failed-tables.png",
    ]
    assert "- no table" in capsys.readouterr().out


def test_a_run_without_steps_has_not_passed(tmp_path):
    Report(tmp_path).save()
    assert json.loads((tmp_path / "report.json").read_text())["passed"] is False


def test_ctrl_c_ends_the_run_and_the_time_is_kept(tmp_path):
    report = Report(tmp_path)
    with pytest.raises(KeyboardInterrupt), report.step("long"):
        raise KeyboardInterrupt
    assert len(report.steps) == 1


def test_a_long_list_of_problems_is_cut_and_nothing_said_twice():
    assert listed(["a", "b", "a"]) == ["a", "b"]
    assert listed([str(n) for n in range(30)])[-1] == "and 18 more: see report.json"


# --- the command ----------------------------------------------------------------------------------


def test_what_is_missing_is_said_in_one_sentence(tmp_path, monkeypatch, capsys):
    assert main(["site", "--site", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    assert "run make site first" in capsys.readouterr().err
    monkeypatch.setenv("COURSE_CHROMIUM", str(tmp_path / "no-browser"))
    with pytest.raises(CourseError, match=r"no-browser' is no program: install it"):
        find_chromium()
    monkeypatch.delenv("COURSE_CHROMIUM")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CourseError, match="Chromium is missing: install it"):
        find_chromium()
    with pytest.raises(SystemExit):
        main(["sight"])


# --- a notebook that was run ----------------------------------------------------------------------


def notebook(*outputs_of_cells):
    cells = [new_code_cell("x", outputs=o, execution_count=n) for n, o in outputs_of_cells]
    return nbformat.from_dict(new_notebook(cells=cells))


TEXT = new_output("stream", name="stdout", text="3\n")
FIGURE = new_output("display_data", data={"image/png": "AA==", "text/plain": "Figure"})


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ([(1, [TEXT]), (2, [])], "shows [], and in the repository ['image/png']"),
        ([(1, [TEXT]), (None, [FIGURE])], "the numbers [1, None], not 1 to 2"),
        ([(1, [TEXT])], "the numbers [1], not 1 to 2"),
        ([(2, [TEXT]), (1, [FIGURE])], "the numbers [2, 1]"),
        (
            [(1, [TEXT, new_output("stream", name="stderr", text="Warning")]), (2, [FIGURE])],
            "cell 1: text on stderr: 'Warning'",
        ),
        (
            [(1, [TEXT, new_output("error", ename="ValueError", evalue="no")]), (2, [FIGURE])],
            "cell 1: error ValueError: no",
        ),
        (
            [(1, [new_output("stream", name="stdout", text="fit:  40%|████ ")]), (2, [FIGURE])],
            "cell 1: the rest of a progress bar",
        ),
    ],
)
def test_a_notebook_that_did_not_run_well_is_noticed(outputs, problem):
    committed = notebook((1, [TEXT]), (2, [FIGURE]))
    assert problems_of_run(committed, committed) == []
    problems = problems_of_run(notebook(*outputs), committed)
    assert any(problem in found for found in problems), problems


def test_a_bar_that_was_taken_away_is_no_output():
    committed = notebook((1, [TEXT]), (2, [FIGURE]))
    gone = new_output("stream", name="stdout", text="\r   \r")
    assert problems_of_run(notebook((1, [TEXT]), (2, [gone, FIGURE])), committed) == []


# --- links ----------------------------------------------------------------------------------------


def test_broken_links_are_found(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "data.csv").write_text("1")
    url = "http://here/"
    good = [
        *(f"{url}", f"{url}a.html#top", f"{url}a.html#%E2%9C%93", f"{url}files/data.csv"),
        "https://elsewhere.org/none.html",
    ]
    pages = {"index.html": Seen([], good), "a.html": Seen([], [], {"top", "✓"})}
    assert broken_links(pages, url, tmp_path) == []
    pages["index.html"].links += [f"{url}b.html", f"{url}a.html#end", f"{url}files/no.csv"]
    assert broken_links(pages, url, tmp_path) == [
        "index.html links to b.html, which is missing",
        "index.html links to a.html#end, and there is no such place",
        "index.html links to files/no.csv, which is missing",
    ]


# --- pages in the browser -------------------------------------------------------------------------

HEAD = (
    "<!doctype html><html lang='en'><head><title>Page</title><link rel='icon' href='data:,'></head>"
)
GOOD = f"{HEAD}<body><main><h1>Page</h1><p>Text</p></main></body></html>"
FAULTS = {
    "external.html": ("<img src='http://192.0.2.1/x.png' alt='x'>", "external request: http://192"),
    "style.html": ("<style>@import '//192.0.2.1/x.css'</style>", "external request: http://192"),
    "missing.html": ("<img src='none.png' alt='x'>", "none.png (status 404)"),
    "console.html": ("<script>console.error('broken')</script>", "console: broken"),
    "raises.html": ("<script>null.x</script>", "script error: "),
    "wide.html": ("<p class='long' style='width: 700px'>x</p>", "pixels too wide: p.long"),
    "alt.html": ("<img src='data:image/gif;base64,R0lGODlhAQABAAAAACw='>", "image-alt (critical)"),
    "contrast.html": ("<p style='color: #aaa'>hard to read</p>", "color-contrast (serious)"),
    "link.html": ("<a href='#x' id='x'></a>", "link-name (serious)"),
    "order.html": ("<h4>too deep</h4>", "heading-order (moderate)"),
}


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    """A browser's page on a small site, one page for each fault, and the watch on it."""
    pytest.importorskip("playwright", reason="needs requirements-site.txt")
    pytest.importorskip("axe_playwright_python", reason="needs requirements-site.txt")
    if not any(map(shutil.which, NAMES)):
        pytest.skip("needs Chromium")
    from tools.e2e.browser import PHONE, chromium, open_page

    folder = tmp_path_factory.mktemp("site")
    (folder / "good.html").write_text(GOOD)
    for name, (fault, _) in FAULTS.items():
        (folder / name).write_text(GOOD.replace("<p>", f"{fault}<p>"))
    with static(folder) as url, chromium() as browser:
        page, watch = open_page(browser, [url], PHONE)
        yield page, watch, url


@pytest.mark.parametrize("name", ["good.html", *FAULTS])
def test_the_browser_notices(name, window):
    from tools.e2e import access
    from tools.e2e.site import look_at

    page, watch, url = window
    seen = look_at(page, watch, url + name)
    problems, kept = access.problems_of(page)
    found = [*seen.problems, *([seen.too_wide] if seen.too_wide else []), *problems]
    assert kept > 5
    if name == "good.html":
        assert found == []
    else:
        assert any(FAULTS[name][1] in problem for problem in found), found


def test_a_figure_without_a_ground_of_its_own_is_dark(window):
    from tools.e2e.lab import GROUNDS

    page, _, url = window
    page.goto(f"{url}good.html")
    page.evaluate("""async () => {
        for (const fill of ["white", "#111", null]) {
            const canvas = document.createElement("canvas");
            const drawing = canvas.getContext("2d");
            if (fill) { drawing.fillStyle = fill; drawing.fillRect(0, 0, 300, 150); }
            const image = document.body.appendChild(new Image());
            image.src = canvas.toDataURL();
            await image.decode();
        }
    }""")
    white, black, none = page.locator("img").evaluate_all(GROUNDS)
    assert white == 1
    assert black < 0.1
    assert none == 0
