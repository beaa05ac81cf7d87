"""The course in JupyterLab as a reader uses it: with mouse and keyboard only."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.e2e.browser import PATIENCE, chromium, open_page
from tools.e2e.report import Report, Step
from tools.e2e.servers import Lab, jupyterlab
from utils.notebooks import code_cells, find_chapters, read_notebook, repository_root
from utils.runtime import CourseError

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from playwright.sync_api import Browser, Locator

QUICK_CHAPTER, TRAINING_CHAPTER = "01_tensors", "12_lstm_metro"
"""The fastest one, and one with progress bars, training curves and many tables."""
TABLES_CHAPTER = "05_linear_models"

EXERCISE, NUMBER = "02_autograd", "02.2"
WRONG_ANSWER = """\
def line_gradient(w, b, x, y):
    error = w * x + b - y
    return 2 * (error * x).sum(), 2 * error.sum()
"""
DIAGNOSIS = "divide the sum over the examples by their number"
RIGHT_ANSWER = """\
def line_gradient(w, b, x, y):
    error = w * x + b - y
    return 2 * (error * x).mean(), 2 * error.mean()
"""

THEMES = {"dark": "JupyterLab Dark", "light": "JupyterLab Light"}

START_LIMIT, RUN_LIMIT, ANSWER_LIMIT = 120 * PATIENCE, 400 * PATIENCE, 60 * PATIENCE
"""Seconds for JupyterLab to appear, for a chapter to run and for a cell to answer; all three are far
more than an idle machine needs."""

BAR = re.compile(r"\d+%\|")
"""What a progress bar of tqdm looks like."""

NOTEBOOK = ".jp-NotebookPanel:not(.lm-mod-hidden)"
PROMPTS = f"{NOTEBOOK} .jp-CodeCell .jp-InputArea .jp-InputPrompt"
IDLE = ".jp-Notebook-ExecutionIndicator[data-status='idle']"
ENDED_DEBUGGER = "Could not restore the debugger state"
"""What JupyterLab says itself when a notebook is closed while it asks the kernel for a debugger."""
KERNEL = ".jp-Toolbar-kernelName"
OUTPUTS = f"{NOTEBOOK} .jp-CodeCell .jp-OutputArea-output"


def check_lab(report: Report) -> None:
    """Go through the course in JupyterLab.

    Args:
        report: takes what was found.

    Raises:
        CourseError: JupyterLab, Chromium or Playwright does not start.
    """
    source = repository_root() / "notebooks"
    with jupyterlab(source, report.folder / "jupyterlab.log") as lab, chromium() as browser:
        _Journey(lab, browser, report).all()


class _Journey:
    """One window of JupyterLab, from the first page to the last."""

    def __init__(self, lab: Lab, browser: Browser, report: Report) -> None:
        self.lab, self.report = lab, report
        self.page, self.watch = open_page(browser, [lab.url])
        self.page.set_default_timeout(1000 * START_LIMIT)

    def all(self) -> None:
        """Take every step."""
        if not self.start():
            return
        self.run_chapter(QUICK_CHAPTER)
        self.exercise()
        for theme in THEMES:
            self.theme(theme, [TRAINING_CHAPTER, TABLES_CHAPTER])
        self.run_chapter(TRAINING_CHAPTER, bars=True)
        with self.report.step("lab: nothing is loaded from elsewhere, no error") as step:
            step.problems += [p for p in self.watch.take() if ENDED_DEBUGGER not in p]
            step.note(requests=self.watch.requests)
            step.expect(self.watch.requests > 50, "hardly a request was seen")

    def start(self) -> bool:
        """Open JupyterLab and look at the list of chapters."""
        with self.report.step("lab: the file browser lists every chapter", self.shot) as step:
            self.page.goto(f"{self.lab.url}lab")
            self.item(find_chapters()[0].name).wait_for()
            listed = self.page.locator(".jp-DirListing-itemText").all_text_contents()
            missing = [c.name for c in find_chapters() if c.name not in listed]
            step.expect(not missing, f"not listed: {', '.join(missing)}")
            step.note(files=len(listed))
        return not step.problems

    # --- running a chapter ------------------------------------------------------------------------

    def run_chapter(self, name: str, bars: bool = False) -> None:
        """Open a chapter, restart and run all, and look at every output.

        Args:
            name: the notebook without its suffix.
            bars: whether progress bars must be seen on the way.
        """
        path = self.lab.notebooks / f"{name}.ipynb"
        committed = read_notebook(path)
        _clear(path)  # so that every output that we find is of this run
        with self.report.step(f"lab: {name} runs from top to bottom", self.shot) as step:
            self.open(path.name)
            seen = self.restart_and_run_all(len(list(code_cells(committed))))
            step.note(bars_seen=seen)
            step.expect(bool(seen) or not bars, "no progress bar was seen on the way")
            self.save(path)
            step.problems += problems_of_run(read_notebook(path), committed)
            self.look_at_outputs(step, committed)
        with self.report.step(f"lab: {name} pictures", self.shot):
            self.pictures(name)
        self.close()

    def restart_and_run_all(self, cells: int) -> int:
        """Use the menu, wait until every cell has its number; return how often a bar was seen."""
        self.menu("Run", "Restart Kernel and Run All Cells…")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        wanted = [f"[{number}]:" for number in range(1, cells + 1)]
        seen, deadline = 0, time.monotonic() + RUN_LIMIT
        while True:
            state = self.page.evaluate(_STATE, [PROMPTS, OUTPUTS])
            seen += state["bar"]
            if state["errors"]:
                raise AssertionError(f"a cell ends in an error: {state['errors'][0]}")
            if state["prompts"] == wanted:
                return seen
            if time.monotonic() > deadline:
                raise AssertionError(f"not finished in {RUN_LIMIT:g} s: {state['prompts']}")
            self.page.wait_for_timeout(300)

    def look_at_outputs(self, step: Step, committed: NotebookNode) -> None:
        """Hold what JupyterLab shows to what the committed chapter shows."""
        for kind in ("stderr", "error"):
            found = self.page.locator(f"{OUTPUTS}[data-mime-type='application/vnd.jupyter.{kind}']")
            step.expect(found.count() == 0, f"{found.count()} outputs of the type {kind}")
        pictures = self.page.locator(f"{OUTPUTS} img")
        wanted = sum("image/png" in data for data in _data_of(committed))
        step.expect(pictures.count() == wanted, f"{pictures.count()} figures, not {wanted}")
        empty = "images => images.filter(image => image.naturalWidth === 0).length"
        step.expect(pictures.evaluate_all(empty) == 0, "a figure is not drawn")
        tables = self.page.locator(f"{OUTPUTS} table")
        wanted_tables = sum("<table" in data.get("text/html", "") for data in _data_of(committed))
        step.expect(tables.count() >= wanted_tables > 0, f"{tables.count()} tables")
        board = self.page.locator(f"{OUTPUTS} table", has_text="baseline").last
        step.expect("kept" in (board.text_content() or ""), "the scoreboard shows no kept bar")
        step.note(figures=pictures.count(), tables=tables.count())

    def pictures(self, name: str) -> None:
        """Keep screenshots of the first figure, the first table and the scoreboard."""
        for kind, place in (
            ("figure", self.page.locator(f"{OUTPUTS} img").first),
            ("scoreboard", self.page.locator(f"{OUTPUTS} table").last),
        ):
            place.scroll_into_view_if_needed()
            self.page.wait_for_timeout(200)  # the smooth scrolling ends
            self.page.screenshot(path=self.report.path(f"lab {name} {kind}"))

    # --- an exercise --------------------------------------------------------------------------------

    def exercise(self) -> None:
        """Answer an exercise: not at all, wrongly, rightly."""
        with self.report.step(f"lab: exercise {NUMBER} answers", self.shot) as step:
            self.item("exercises").dblclick()
            # chapters and exercises have the same names: wait until the old list is gone
            self.item("solutions").wait_for(state="detached")
            self.open(f"{EXERCISE}.ipynb")
            # the notebook is drawn piece by piece, so the last cell first
            progress = self.cell("progress_table(")
            setup, answer = self.cell("utils.checks"), self.cell("def line_gradient")
            check = self.cell(f'check("{NUMBER}"')
            self.execute(setup)
            for text, mark, words in (
                (None, "⬜", "not attempted yet"),
                (WRONG_ANSWER, "❌", DIAGNOSIS),
                (RIGHT_ANSWER, "✅", "solved"),
            ):
                if text is not None:
                    self.write(answer, text)
                self.execute(answer)
                shown = self.execute(check)
                step.note(**{mark: shown})
                step.expect(mark in shown and words in shown, f"not {mark} {words!r}, but {shown}")
                check.scroll_into_view_if_needed()
                self.page.screenshot(path=self.report.path(f"lab exercise {words[:9]}"))
            table = self.execute(progress)
            step.expect("1 of " in table and "2✅" in table, f"the table of progress says {table}")
            record = json.loads(self.lab.progress.read_text(encoding="utf-8"))
            step.expect(record == {NUMBER: "solved"}, f"the record of progress is {record}")
        self.close()
        self.page.locator(".jp-BreadCrumbs-home").click()
        self.item(find_chapters()[0].name).wait_for()

    def cell(self, text: str) -> Locator:
        """The first code cell whose source holds a text, by its place, which stays when it is edited."""
        cells = self.page.locator(f"{NOTEBOOK} .jp-CodeCell")
        found: list[str] = []

        def there() -> bool:
            found[:] = cells.evaluate_all("cells => cells.map(cell => cell.textContent)")
            return any(text in shown for shown in found)

        self.until(there, f"there is no cell with {text!r}")
        return cells.nth(next(i for i, shown in enumerate(found) if text in shown))

    def write(self, cell: Locator, text: str) -> None:
        """Replace the content of a cell, as a reader would."""
        cell.locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.insert_text(text)

    def execute(self, cell: Locator) -> str:
        """Run a cell with Shift+Enter, wait for its end and return the text of its output."""
        prompt = cell.locator(".jp-InputArea .jp-InputPrompt")
        before = prompt.text_content()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        self.until(
            lambda: (
                (now := prompt.text_content() or "") != before
                and re.fullmatch(r"\[\d+\]:", now) is not None
            ),
            "the cell did not end",
        )
        self.ready()  # the number may come a moment before the output
        return " ".join(cell.locator(".jp-OutputArea-output").all_text_contents()).strip()

    # --- themes -------------------------------------------------------------------------------------

    def theme(self, theme: str, chapters: list[str]) -> None:
        """Read chapters in one of JupyterLab's themes.

        Args:
            theme: ``"light"`` or ``"dark"``.
            chapters: notebooks to look at.
        """
        with self.report.step(f"lab: the {theme} theme can be chosen", self.shot):
            self.menu("Settings", "Theme", THEMES[theme])
            wanted = "true" if theme == "light" else "false"
            self.page.locator(f"body[data-jp-theme-light='{wanted}']").wait_for(state="attached")
        for name in chapters:
            with self.report.step(f"lab: {name} is readable, {theme}", self.shot) as step:
                self.open(f"{name}.ipynb")
                self.readable(step, name, theme)
            self.close()

    def readable(self, step: Step, name: str, theme: str) -> None:
        """Tables and text have enough contrast, figures bring their own ground."""
        # axe gives no answer here, as JupyterLab lays its panels over each other
        low, looked = self.page.evaluate(_LOW_CONTRAST, f"{NOTEBOOK} .jp-RenderedHTMLCommon")
        step.problems += [f"contrast below 4.5: {text}" for text in low]
        step.expect(looked > 20, f"only {looked} texts were seen")
        images = self.page.locator(f"{OUTPUTS} img")
        grounds = images.evaluate_all(GROUNDS)
        step.expect(len(grounds) > 0, "there is no figure")
        step.expect(
            all(light > 0.9 for light in grounds), f"a figure has no light ground: {grounds}"
        )
        step.note(figures=len(grounds))
        for kind, places in (
            ("figures", images),
            ("tables", self.page.locator(f"{OUTPUTS} table.dataframe")),
        ):
            places.first.scroll_into_view_if_needed()
            self.page.wait_for_timeout(300)
            self.page.screenshot(path=self.report.path(f"lab {theme} {name} {kind}"))

    # --- hands --------------------------------------------------------------------------------------

    def item(self, name: str) -> Locator:
        """A line of the file browser."""
        text = self.page.get_by_text(name, exact=True)
        return self.page.locator(".jp-DirListing-item").filter(has=text)

    def open(self, name: str) -> None:
        """Double-click a notebook in the file browser and wait until it is there, with a kernel."""
        self.item(name).dblclick()
        self.page.locator(f"{NOTEBOOK} .jp-CodeCell").first.wait_for()
        self.ready()

    def ready(self) -> None:
        """Wait until the kernel of the notebook is idle, and so all output there.

        A notebook without a kernel is idle too, and would then ask for one in a dialog.
        """
        self.page.locator(f"{NOTEBOOK} {KERNEL}", has_text="Python 3").wait_for()
        self.page.locator(f"{NOTEBOOK} {IDLE}").wait_for()

    def save(self, path: Path) -> None:
        """Save the notebook and wait until the file is written."""
        before = path.stat().st_mtime_ns
        self.menu("File", "Save Notebook")

        def saved() -> bool:
            with contextlib.suppress(CourseError):  # half of it is written
                return path.stat().st_mtime_ns != before and bool(read_notebook(path))
            return False

        self.until(saved, "the notebook was not saved")

    def close(self) -> None:
        """Close the tab and end its kernel; what was not saved is let go."""
        self.menu("File", "Close and Shut Down Notebook")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        discard = self.page.locator(".jp-Dialog .jp-mod-warn", has_text="Discard")
        tab = self.page.locator(".jp-NotebookPanel")

        def closed() -> bool:
            if discard.count():
                discard.click()
            return not tab.count()

        self.until(closed, "the notebook was not closed")

    def until(self, holds: Callable[[], bool], otherwise: str) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: it does not in time.
        """
        deadline = time.monotonic() + ANSWER_LIMIT
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"{otherwise} within {ANSWER_LIMIT:g} s")
            self.page.wait_for_timeout(100)

    def menu(self, *path: str) -> None:
        """Click through a menu."""
        self.page.get_by_role("menuitem", name=path[0], exact=True).click()
        for label in path[1:]:
            # not "Save Notebook As…" for "Save Notebook"; an ellipsis may announce a dialog
            exact = self.page.get_by_text(re.compile(rf"^{re.escape(label)}…?$"))
            self.page.locator(".lm-Menu-item").filter(has=exact).last.click()

    def shot(self, path: Path) -> None:
        """A screenshot for a step that fails."""
        self.page.screenshot(path=path)


_STATE = r"""([prompts, outputs]) => {
    const texts = places => [...document.querySelectorAll(places)].map(e => e.textContent);
    return {
        prompts: texts(prompts),
        errors: texts(`${outputs}[data-mime-type$='.error']`).map(text => text.slice(0, 300)),
        bar: texts(`${outputs} pre`).some(text => /\d+%\|/.test(text)),
    };
}"""
"""How far a run has come: the numbers of the cells, errors, whether a progress bar is to be seen."""

_LOW_CONTRAST = """selector => {
    const numbers = color => (color.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const ground = element => {
        for (let e = element; e; e = e.parentElement) {
            const color = numbers(getComputedStyle(e).backgroundColor);
            if ((color[3] ?? 1) > 0.5) return color;
        }
        return [255, 255, 255];
    };
    const texts = [...document.querySelectorAll(selector)].flatMap(part =>
        [...part.querySelectorAll("p, li, td, th, code, h1, h2, h3, a, strong, em")]);
    const seen = texts.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
    const low = seen.filter(e => {
        const [a, b] = [light(numbers(getComputedStyle(e).color)), light(ground(e))];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
    });
    return [low.slice(0, 5).map(e => `${e.tagName} ${e.textContent.slice(0, 60)}`), seen.length];
}"""
"""Texts whose contrast with their ground is below that of WCAG 2 (level AA), and how many there are."""

GROUNDS = """images => images.map(image => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 1;
    const drawing = canvas.getContext("2d");
    drawing.drawImage(image, -2, -2);
    const [red, green, blue, opaque] = drawing.getImageData(0, 0, 1, 1).data;
    return opaque / 255 * (red + green + blue) / 765;
})"""
"""How light the corner of each image is: 1 for white, 0 for black and for transparent."""


def problems_of_run(run: NotebookNode, committed: NotebookNode) -> list[str]:
    """Return what is wrong with a notebook that was run in JupyterLab.

    Args:
        run: as JupyterLab saved it.
        committed: the chapter in the repository.

    Returns:
        One sentence for each problem: cells that did not run or that run in another order, errors,
        text on stderr, what progress bars leave behind, outputs of another kind than committed.
    """
    problems = []
    cells, wanted = list(code_cells(run)), list(code_cells(committed))
    counts = [cell.execution_count for _, cell in cells]
    if counts != list(range(1, len(wanted) + 1)):
        problems.append(f"the cells have the numbers {counts}, not 1 to {len(wanted)}")
    for (place, cell), (_, model) in zip(cells, wanted, strict=False):
        problems += [f"cell {place}: {problem}" for problem in _problems_of_outputs(cell)]
        kinds, model_kinds = _kinds(cell), _kinds(model)
        if kinds != model_kinds:
            problems.append(f"cell {place}: shows {kinds}, and in the repository {model_kinds}")
    return problems


def _problems_of_outputs(cell: NotebookNode) -> Iterator[str]:
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"error {output.ename}: {output.evalue}"
        if output.output_type != "stream":
            continue
        if output.name == "stderr":
            yield f"text on stderr: {output.text.strip()[:120]!r}"
        elif BAR.search(output.text) or "it/s" in output.text:
            yield f"the rest of a progress bar: {output.text.strip()[:120]!r}"


def _kinds(cell: NotebookNode) -> list[str]:
    """What a cell shows, in order: text, image/png, text/html …"""
    kinds = []
    for output in cell.outputs:
        data: dict[str, Any] = output.get("data", {})
        if not data and not output.get("text", "").strip():
            continue  # a bar that was taken away
        named = [kind for kind in ("image/png", "text/html", "text/latex") if kind in data]
        kinds.append(named[0] if named else "text")
    return list(dict.fromkeys(kinds))


def _data_of(notebook: NotebookNode) -> list[dict[str, Any]]:
    return [o.get("data", {}) for _, cell in code_cells(notebook) for o in cell.outputs]


def _clear(path: Path) -> None:
    """Take all outputs and numbers out of a notebook."""
    import nbformat

    notebook = read_notebook(path)
    for _, cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, path)
