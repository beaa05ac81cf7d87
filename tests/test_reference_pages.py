"""Cheat sheet, glossary, symptom index, bibliography and teachers' tour fit the chapters."""

import ast
import functools
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from nbformat import v4

from tools import bibliography, cheatsheet, tour
from utils.notebooks import (
    anchor_of,
    code_cells,
    find_chapters,
    headings_of,
    read_notebook,
    write_notebook,
)
from utils.runtime import CourseError

DOCS = Path(__file__).resolve().parents[1] / "docs"
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
CHAPTERS = [path.stem for path in find_chapters()]
read_once = functools.cache(read_notebook)


@pytest.fixture(scope="module", autouse=True)
def read_each_notebook_once():
    """To check the form of a notebook takes longer than all that is done with it here."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (cheatsheet, bibliography, tour):
            patch.setattr(module, "read_notebook", read_once)
        yield


@functools.cache
def anchors_in(path):
    """The anchors of a notebook, as Jupyter makes them, or of a Markdown file, as GitHub does."""
    if path.suffix == ".ipynb":
        return {anchor_of(h.text) for h in headings_of(read_once(path))}
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).casefold().replace(" ", "-") for title in titles}


def broken_links(markdown):
    """What is wrong with the links of a page in ``docs/``: one sentence each."""
    for label, address in LINK.findall(markdown):
        if address.startswith("https://"):
            continue
        name, _, quoted = address.partition("#")
        path, anchor = (DOCS / name).resolve(), unquote(quoted)
        if not path.exists():
            yield f"{address} does not exist."
        elif anchor and anchor not in anchors_in(path):
            yield f"{address} leads to no heading."
        elif (
            re.match(r"\d\d · ", label)
            and anchor_of(label)
            not in (
                anchor,  # the title of a chapter
                f"{path.name[:2]}-·-{anchor}",
            )
        ):
            yield f"{address} is called {label!r}."


PAGES = {
    "cheat sheet": cheatsheet.page,
    "bibliography": bibliography.page,
    **{
        name: functools.partial((DOCS / f"{name}.md").read_text, encoding="utf-8")
        for name in ("glossary", "symptoms", "teaching")
    },
}
LINKS = {"cheat sheet": 1000, "bibliography": 80, "glossary": 120, "symptoms": 60, "teaching": 50}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_heading(name):
    markdown = PAGES[name]()
    assert len(LINK.findall(markdown)) > LINKS[name]
    assert list(broken_links(markdown)) == []


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[04 · Losses](../notebooks/04_building_blocks.ipynb#Losses)", []),
        ("[04 · Losses](../notebooks/04_building_blocks.ipynb#Gains)", ["no heading"]),
        ("[04 · Gains](../notebooks/04_building_blocks.ipynb#Losses)", ["called"]),
        ("[05 · Losses](../notebooks/04_building_blocks.ipynb#Losses)", ["called"]),
        ("[here](../notebooks/04_blocks.ipynb)", ["not exist"]),
        ("[README](../README.md#trouble)", []),
        ("[README](../README.md#troubles)", ["no heading"]),
    ],
)
def test_a_broken_link_is_noticed(link, expected):
    found = list(broken_links(f"Text {link}."))
    assert len(found) == len(expected)
    assert all(word in sentence for word, sentence in zip(expected, found, strict=True))


# --- cheat sheet ----------------------------------------------------------------------------------


def test_every_name_has_a_line_and_every_line_a_use():
    assert cheatsheet.problems() == []


def test_a_missing_and_a_useless_line_are_noticed(tmp_path, monkeypatch):
    text = cheatsheet.LINES.read_text(encoding="utf-8")
    text = text.replace('"torch.cat" = ', '"torch.dog" = ').replace('"Tensor.view" = ', '"X.y" = ')
    text = text.replace('"F.mse_loss" = "04#Losses"', '"F.mse_loss" = "04#Gains"')
    changed = tmp_path / "lines.toml"
    changed.write_text(text, encoding="utf-8")
    lines = cheatsheet.lines_of
    monkeypatch.setattr(cheatsheet, "lines_of", lambda: lines(changed))
    found = cheatsheet.problems()
    assert "torch.cat has no line." in found
    assert "torch.dog has a line and is not used." in found
    assert any(re.match(r"\S+\.view has no line", sentence) for sentence in found)
    assert "F.mse_loss is said to be taught in 04#Gains, which is no section." in found
    monkeypatch.setattr(cheatsheet, "uses", lambda listed: [])
    with pytest.raises(CourseError, match="does not fit the chapters: .* is not used"):
        cheatsheet.page()


def test_two_lines_for_one_name_are_noticed(tmp_path):
    (tmp_path / "lines.toml").write_text('[A]\n"np.sin" = "a"\n[B]\n"np.sin" = "b"\n')
    with pytest.raises(CourseError, match="two lines for np.sin"):
        cheatsheet.lines_of(tmp_path / "lines.toml")


KNOWN = ["Tensor.mean", "Tensor.view", "Tensor.T", "Module.eval", "Module.to", "Tensor.to"]
KNOWN += ["DataFrame.mean", "DataFrame.T", "ndarray.mean", "Tensor.sum", "Optimizer.step"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("torch.arange(6).view(2, 3)", {"torch.arange", "Tensor.view"}),
        ("F.relu(nn.Linear(2, 3)(x))", {"F.relu", "nn.Linear"}),
        ("for f in (torch.sin, nn.ReLU): f(x)", {"torch.sin", "nn.ReLU"}),  # named, not called
        ("x = pd.DataFrame({})\nx.mean()\nx.T", {"pd.DataFrame", "DataFrame.mean", "DataFrame.T"}),
        ("x = np.ones(3)\nx.mean()", {"np.ones", "ndarray.mean"}),
        ("def f(x):\n    return x.mean()", {"Tensor.mean"}),  # an argument may be anything
        ("x = torch.ones(3)\ny = (x + 1).mean()", {"torch.ones", "Tensor.mean"}),
        ("library = torch.optim\nlibrary.SGD([w])", {"torch.optim.SGD"}),
        ("library = torch.optim\nlibrary.SGD([w]).step()", {"torch.optim.SGD", "Optimizer.step"}),
        ("net = nn.ReLU().eval()", {"nn.ReLU", "Module.eval"}),
        ("x.to('cpu').mean()", {"Tensor.to", "Tensor.mean"}),
        ("words = 'a b'.split()\n', '.join(words)\nnames.append(1)", set()),
        ("class Net(nn.Module):\n    def look(self): return self.look()", {"nn.Module"}),
        ("x = [1, 2]\nx.view()", set()),  # a list, whatever the name of the method
        ("x.frobnicate()", {"?.frobnicate"}),
        ("torch.ones(3).frobnicate()", {"torch.ones", "Tensor.frobnicate"}),
        ("torch.float32, np.pi, x.dtype", set()),
        ("def f(np): return np.sin(1)", {"?.sin"}),  # an argument hides the import
        ("torch = None\ntorch.cat", set()),
        ("datasets.load_mnist()", {"utils.datasets.load_mnist"}),
        (
            "models.ResNet18_Weights.IMAGENET1K_V1.transforms()",
            {"torchvision.models.ResNet18_Weights"},
        ),
    ],
)
def test_names_are_read_from_code(code, expected, tmp_path):
    imports = "import numpy as np\nimport pandas as pd\nimport torch\nfrom torch import nn\n"
    imports += "from torch.nn import functional as F\nfrom torchvision import models\n"
    imports += "from utils import datasets\n"
    cells = [v4.new_markdown_cell("# 01 · T\n\n## S"), v4.new_code_cell(imports)]
    path = tmp_path / "01_t.ipynb"
    write_notebook(v4.new_notebook(cells=[*cells, v4.new_code_cell(code)]), path)
    found = cheatsheet.uses(KNOWN, [path])
    assert {use.name for use in found} == expected
    assert {(use.chapter, use.section) for use in found} <= {("01_t", "S")}


def test_the_names_of_torch_exist():
    import torch

    kinds = {"Tensor": torch.Tensor, "Module": torch.nn.Sequential}
    kinds |= {"Optimizer": torch.optim.Optimizer}
    kinds |= {"LRScheduler": torch.optim.lr_scheduler.LRScheduler}
    checked = 0
    for group in cheatsheet.lines_of()[0].values():
        for name in group:
            first, _, rest = cheatsheet.full_name(name).partition(".")
            if first != "torch" and first not in kinds:
                continue
            thing = kinds.get(first, torch)
            for part in rest.split("."):
                thing = getattr(thing, part)
            checked += 1
    assert checked > 250


def test_the_course_s_own_names_exist():
    names = [n for group in cheatsheet.lines_of()[0].values() for n in group]
    own = [n.split(".") for n in names if n.startswith("utils.")]
    assert len(own) > 20
    for _, module, *parts in own:
        scope = ast.parse((DOCS.parent / "utils" / f"{module}.py").read_text(encoding="utf-8"))
        for part in parts:  # a function, a class, or a method of a class
            (scope,) = [d for d in scope.body if getattr(d, "name", None) == part]


# --- glossary -------------------------------------------------------------------------------------


def terms_of(markdown):
    return re.findall(r"^- \*\*(.+?)\*\*(?: \(.+?\))?: (.+)$", markdown, re.MULTILINE)


def order(term):
    return re.sub(r"[^\w ]", "", term.replace("-", " ").replace("²", "2")).casefold()


def test_the_glossary_is_in_order_and_covers_every_chapter():
    text = PAGES["glossary"]()
    terms = terms_of(text)
    assert len(terms) == len(re.findall(r"^- ", text, re.MULTILINE)) >= 120
    assert [order(term) for term, _ in terms] == sorted(order(term) for term, _ in terms)
    labels = re.findall(r"^- \*\*(.+?)\*\*((?: \(.+?\))?):", text, re.MULTILINE)
    assert len(set(labels)) == len(labels)
    homes = [CHAPTERS.index(Path(LINK.search(t)[2]).name.split(".")[0]) for _, t in terms]
    assert min(homes.count(i) for i in range(len(CHAPTERS))) >= 5
    for heading, part in re.findall(r"^## (\w)\n\n((?:- .+\n)+)", text, re.MULTILINE):
        assert all(order(term).startswith(heading.casefold()) for term, _ in terms_of(part))


# --- symptoms -------------------------------------------------------------------------------------


def symptoms():
    for line in PAGES["symptoms"]().splitlines():
        if line.startswith("| ") and not line.startswith("| you see"):
            yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def in_one_line(text):
    return " ".join(text.split())


@functools.cache
def outputs_of(chapter):
    """What the committed chapter prints, on one line."""
    (path,) = find_chapters([chapter])
    parts = []
    for _, cell in code_cells(read_once(path)):
        for output in cell.outputs:
            parts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return in_one_line(" ".join(parts))


def test_symptoms_are_complete_and_lead_somewhere():
    rows = list(symptoms())
    assert len(rows) >= 35
    assert [row for row in rows if len(row) != 4 or not all(row)] == []
    assert len({row[0] for row in rows}) == len(rows)
    assert [row for row in rows if len(LINK.findall(row[3])) != 1] == []


def test_messages_are_those_that_the_chapters_print():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    checked = 0
    for see, _, _, where in symptoms():
        if message := re.fullmatch(r"`([^`]+)`", see):
            address = LINK.search(where)[2]
            chapter = re.search(r"notebooks/(\w+)", address)
            printed = outputs_of(chapter[1]) if chapter else readme
            assert in_one_line(message[1]) in printed, message[1]
            checked += 1
    assert checked >= 30


# --- bibliography ---------------------------------------------------------------------------------


def test_every_reference_of_every_chapter_is_there_once():
    found = bibliography.references()
    assert sorted({r.chapter for r in found}) == CHAPTERS
    entries = [line for line in bibliography.page().splitlines() if line.startswith("- ")]
    works = bibliography.works()
    assert len(entries) == len(works)
    assert sum(len(work.references) for work in works) == len(found) > len(works) > 60
    for line, work in zip(entries, works, strict=True):
        for reference in work.references:
            assert f"](../notebooks/{reference.chapter}.ipynb#References)" in line
            for part in (reference.doi, reference.arxiv):
                assert part is None or part in line
            assert not reference.title or reference.title.casefold() in line.casefold()


def test_no_reference_and_no_number_is_overlooked():
    for path in find_chapters():
        found = bibliography.references([path])
        text = "".join(c.source for c in read_once(path).cells if c.cell_type == "markdown")
        section = text.partition("## References")[2]
        assert len(found) == len(re.findall(r"^- ", section, re.MULTILINE)) > 0
        assert sum(r.arxiv is not None for r in found) == section.count("arXiv:")
        assert sum(r.doi is not None for r in found) == section.count("doi:")


def test_no_work_is_listed_twice():
    entries = [e for e in bibliography.page().splitlines() if e.startswith("- ")]
    for pattern in (r"https://doi\.org/([^)]+)", r"https://arxiv\.org/abs/([^)]+)"):
        numbers = [n for e in entries for n in re.findall(pattern, e)]
        assert len(numbers) > 15
        assert len(set(numbers)) == len(numbers)
    titles = [w.best.title.casefold() for w in bibliography.works() if w.best.title]
    assert len(set(titles)) == len(titles)
    assert bibliography.differences() == []
    order = [bibliography._order(work) for work in bibliography.works()]
    assert order == sorted(order)


SAME = [
    "A. Bee, C. Dee (2015): *Nets and more*. ICLR. arXiv:1412.6980",
    "Bee, A. and Dee, C. (2015). Nets and more. *ICLR*. arXiv:1412.6980.",
    "A. Bee, C. Dee, *Nets and More*, ICLR 2015, arXiv:1412.6980.",
    "A. Bee, C. Dee (2015): *Nets and more*, sections 2.4 and 4.3.",
]


def test_three_ways_to_write_a_reference_are_one_work():
    found = [bibliography.parse(f"0{i}_x", text) for i, text in enumerate(SAME, 1)]
    assert {(r.authors, r.year, r.title.casefold()) for r in found} == {
        ("A. Bee, C. Dee", "2015", "nets and more")
    }
    assert [r.rest for r in found] == ["ICLR", "*ICLR*", "ICLR", ""]
    other = bibliography.parse("05_x", "A. Bee (2016): *Nets and more*. arXiv:1412.6981")
    (work, second) = bibliography.works([*found, other])
    assert (len(work.references), len(second.references)) == (4, 1)
    line = bibliography.entry(work)
    assert line.count("https://arxiv.org/abs/1412.6980") == 1
    assert line.endswith("[04](../notebooks/04_x.ipynb#References).")


@pytest.mark.parametrize("number", ["arXiv:1412.6980", "doi:10.1000/182"])
def test_one_number_is_one_work_whatever_its_title(number):
    texts = [f"A. Bee (2015): *{title}*. {number}" for title in ("Nets", "Networks", "Nets, again")]
    (work,) = bibliography.works([bibliography.parse("01_x", text) for text in texts])
    assert len(work.references) == 3


def test_one_work_cited_with_two_years_is_reported(monkeypatch):
    texts = [SAME[0], SAME[0].replace("2015", "2014")]
    found = [bibliography.parse(f"0{i}_x", text) for i, text in enumerate(texts, 1)]
    monkeypatch.setattr(bibliography, "references", lambda: found)
    assert len(bibliography.differences()) == 1


# --- the teachers' tour ---------------------------------------------------------------------------


@pytest.fixture
def seconds():
    return json.loads(tour.SECONDS.read_text(encoding="utf-8"))


def test_the_tour_is_what_the_generator_makes(seconds):
    text = PAGES["teaching"]()
    assert text == tour.with_tour(text, tour.tour(tour.lessons_of(), seconds))
    assert text.count("<details><summary>") >= 3 * len(CHAPTERS)


def test_reading_minutes_are_those_of_the_readme():
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for path in find_chapters():
        said = re.search(rf"{path.name}\) \| (\d+) min", readme)
        assert tour.minutes(read_once(path)) == int(said[1])


def test_stops_come_in_order_and_before_the_end():
    lessons = tour.lessons_of()
    assert sorted(lessons) == [name[:2] for name in CHAPTERS]
    for path in find_chapters():
        nb = read_once(path)
        times = [
            int(re.search(r"\((\d+) min\)", tour._stop(path, nb, stop))[1])
            for stop in lessons[path.stem[:2]]["stops"]
        ]
        assert 0 < times[0] < times[1] < tour.minutes(nb)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("stops", ["Losses", "No such section"], "no section 'No such section'"),
        ("homework", ["04.1", "05.1"], "no exercise 05.1"),
    ],
)
def test_a_wrong_lesson_is_refused(key, value, expected, seconds):
    lessons = tour.lessons_of()
    lessons["04"][key] = value
    with pytest.raises(CourseError, match=expected):
        tour.tour(lessons, seconds)


def test_an_incomplete_lesson_and_missing_marks_are_refused(tmp_path, seconds):
    text = tour.LESSONS.read_text(encoding="utf-8")
    (tmp_path / "tour.toml").write_text(text.replace("misconception", "mistake", 1))
    with pytest.raises(CourseError, match="chapter 01: give two stops"):
        tour.lessons_of(tmp_path / "tour.toml")
    with pytest.raises(CourseError, match="has no lines"):
        tour.with_tour("# Page\n", "text")
    del seconds["chapters"][CHAPTERS[4]]
    with pytest.raises(CourseError, match=f"no time for {CHAPTERS[4]}"):
        tour.tour(tour.lessons_of(), seconds)


def test_seconds_of_a_cell_that_is_no_code_are_refused(seconds):
    seconds["chapters"][CHAPTERS[0]]["cells"] = {"1": 2.0}
    with pytest.raises(CourseError, match="out of date"):
        tour.tour(tour.lessons_of(), seconds)


def test_the_seconds_of_a_run_are_read(tmp_path):
    def cell(tags, duration):
        metadata = {"tags": tags, "papermill": {"duration": duration}}
        return v4.new_code_cell("1", metadata=metadata)

    (tmp_path / "notebooks").mkdir()
    cells = [v4.new_markdown_cell("# T"), cell(["parameters"], 0.1)]
    cells += [cell(["injected-parameters"], 9.0), cell([], 2.34), cell([], 0.9)]
    for name in ("01_a", "02_b"):
        write_notebook(v4.new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    results = {
        "date": "2026-01-02T03:04:05",
        "machine": {"architecture": "x", "cores": 2},
        "parameters": {"jobs": 1},
        "chapters": [
            {"name": "01_a", "status": "passed", "seconds": 3.6},
            {"name": "02_b", "status": "failed", "seconds": 1.0},
        ],
    }
    (tmp_path / "results.json").write_text(json.dumps(results))
    found = tour.seconds_of(tmp_path)
    assert found["chapters"] == {"01_a": {"seconds": 4, "cells": {"3": 2.3}}}
    both = tour.merged({"chapters": {"01_a": {}, "03_c": {"seconds": 1}}}, found)
    assert both["chapters"] == {"01_a": {"seconds": 4, "cells": {"3": 2.3}}, "03_c": {"seconds": 1}}
    with pytest.raises(CourseError, match="holds no results"):
        tour.seconds_of(tmp_path / "notebooks")


def test_the_command_renews_the_page(tmp_path, monkeypatch, capsys):
    page = tmp_path / "teaching.md"
    page.write_text(f"Before.\n{tour.BEGIN}\nold\n{tour.END}\nAfter.\n")
    monkeypatch.setattr(tour, "PAGE", page)
    monkeypatch.setattr(tour, "repository_root", lambda: tmp_path)  # no build/ there
    assert tour.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("Before.\n") and text.endswith("\nAfter.\n") and "\nold\n" not in text
    assert tour.main(["--build", str(tmp_path)]) == 2
    assert "holds no results" in capsys.readouterr().err
