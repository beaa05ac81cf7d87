"""The website: built once, held to its promises, and the check itself is fed with bad pages."""

import base64
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from tools.site import build as site_build
from tools.site import chapters as site_chapters
from tools.site import home, pages
from tools.site.check import check_site
from tools.site.check import main as check_main
from tools.site.links import Links, anchor_on_page, page_of
from utils.notebooks import find_chapters, headings_of, read_notebook, results_of
from utils.runtime import CourseError

ROOT = Path(__file__).resolve().parents[1]


def have_generator() -> bool:
    try:
        site_build._require_packages()
    except CourseError:
        return False
    return True


needs_generator = pytest.mark.skipif(
    not have_generator(), reason="the packages of requirements-site.txt are not installed"
)


# --- the whole site -------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The site, built once by the command."""
    folder = tmp_path_factory.mktemp("built") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "tools.site", "--out", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in folder.parent.iterdir()) == [".site.lock", "site"]
    return folder


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@needs_generator
def test_the_site_keeps_its_promises(built):
    assert check_site(built) == []
    assert check_main([str(built)]) == 0


@needs_generator
def test_every_chapter_is_there_with_all_figures_and_neighbours(built):
    chapters = find_chapters()
    assert len(chapters) == 14
    for before, chapter, after in zip(
        [None, *chapters], chapters, [*chapters[1:], None], strict=False
    ):
        page = text(built / "chapters" / f"{chapter.stem}.html")
        nb = read_notebook(chapter)
        described = re.findall(r'<img alt="([^"]+)"', page)
        shown = [
            output.metadata["image/png"]["alt"]
            for cell in nb.cells
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        assert len(described) == len(shown) > 0
        assert "application/vnd" not in page
        if before:
            assert f'class="prev-page" href="{before.stem}.html"' in page
        if after:
            assert f'class="next-page" href="{after.stem}.html"' in page
        for heading in headings_of(nb)[1:]:
            assert f'id="{anchor_on_page(heading.text.replace(" ", "-"))}"' in page


@needs_generator
def test_a_figure_has_its_own_description(built):
    (chapter,) = find_chapters(["12"])
    first = next(
        output
        for cell in read_notebook(chapter).cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    )
    page = text(built / "chapters" / f"{chapter.stem}.html")
    alt, source = re.search(r'<img alt="([^"]+)" src="\.\./([^"]+)"', page).groups()
    assert html.unescape(alt) == first.metadata["image/png"]["alt"]
    assert (built / source).read_bytes() == base64.b64decode(first.data["image/png"])


@needs_generator
def test_solutions_are_folded_and_every_exercise_has_hints(built):
    for chapter in find_chapters():
        page = text(built / "exercises" / f"{chapter.stem}.html")
        numbers = re.findall(rf"<h2>({chapter.stem[:2]}\.\d+) ·", page)
        assert len(numbers) >= 5
        assert re.findall(r"<summary>Solution of ([\d.]+)</summary>", page) == numbers
        assert page.count("<summary>Hint 1 of ") == len(numbers)
        assert page.count("<details") == page.count("</details>") > 3 * len(numbers) - 1
        open_text = re.sub(r'<details class="solution">.*?</details>', "", page, flags=re.DOTALL)
        assert "your code" in re.sub(r"<[^>]+>", "", open_text)
        assert "SOLUTION" not in page
        assert "✅" not in open_text


@needs_generator
def test_the_landing_page_shows_every_chapter_and_its_result(built):
    page = text(built / "index.html")
    for chapter in find_chapters():
        assert page.count(f'href="chapters/{chapter.stem}.html"') >= 2  # map and card
        headline = next(r for r in results_of(read_notebook(chapter))["results"] if r["headline"])
        assert f"{headline['value']:.{headline['digits']}g}" in page


@needs_generator
def test_search_works_on_files_and_finds_sections(built):
    index = json.loads(
        text(built / "searchindex.js").removeprefix("Search.setIndex(").removesuffix(")")
    )
    found = [index[kind].get("gcn", []) for kind in ("terms", "titleterms")]
    numbers = [n for pages in found for n in (pages if isinstance(pages, list) else [pages])]
    names = [index["docnames"][n] for n in numbers]
    assert "chapters/14_graph_convolution" in names
    assert "glossary" in names
    page = text(built / "search.html")
    assert '<script src="searchindex.js' in page  # a script, which files may load; not a request


@needs_generator
def test_the_pages_that_are_looked_things_up_in_are_there(built):
    expected = "start results benchmarks cheatsheet glossary symptoms bibliography coverage data teaching contributing"
    for name in expected.split():
        assert (built / f"{name}.html").stat().st_size > 5_000, name
        assert f'href="{name}.html"' in text(built / "index.html"), name


# --- the check of the site ------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="en"><head><title>Page</title>
<link rel="stylesheet" href="_static/a.css"></head>
<body><h1 id="top">Page</h1><a href="other.html#here">there</a> <a href="https://example.org">away</a>
<img src="p.png" alt="a curve"></body></html>"""
OTHER = '<html><head><title>Other</title></head><body><h1 id="here">Other</h1></body></html>'


@pytest.fixture
def small(tmp_path) -> Path:
    """A small site without a fault."""
    site = tmp_path / "site"
    (site / "_static").mkdir(parents=True)
    (site / "index.html").write_text(PAGE, encoding="utf-8")
    (site / "other.html").write_text(OTHER, encoding="utf-8")
    (site / "p.png").write_bytes(b"")
    (site / "_static" / "a.css").write_text("body { background: url('data:,') }")
    index = {"terms": {"gcn": 0, "lstm": 0}, "titleterms": {}}
    (site / "searchindex.js").write_text(f"Search.setIndex({json.dumps(index)})")
    assert check_site(site) == []
    return site


FAULTS = {
    "missing alt": ('alt="a curve"', "", "the picture p.png has no description"),
    "empty alt": ('alt="a curve"', 'alt=" "', "the picture p.png has no description"),
    "name of the file as alt": (
        'alt="a curve"',
        'alt="../_images/p.png"',
        "the picture p.png has no description",
    ),
    "broken link": ("other.html#here", "gone.html", "gone.html leads nowhere"),
    "link out of the site": ("other.html#here", "../x.html", "../x.html leads nowhere"),
    "broken anchor": ("#here", "#gone", "not to a place on it"),
    "broken anchor on the page": ("other.html#here", "#gone", "not to a place on it"),
    "missing picture": ("p.png", "q.png", "q.png leads nowhere"),
    "external script": (
        "</body>",
        '<script src="https://cdn.example/x.js"></script></body>',
        "loads https://cdn.example/x.js from elsewhere",
    ),
    "script without scheme": (
        "</body>",
        '<script src="//cdn.example/x.js"></script></body>',
        "loads //cdn.example/x.js from elsewhere",
    ),
    "external style": ("_static/a.css", "https://cdn.example/a.css", "from elsewhere"),
    "external picture": ('src="p.png"', 'src="http://example.org/p.png"', "from elsewhere"),
    "external font in a style": (
        "</head>",
        "<style>@font-face { src: url(https://fonts.example/f.woff) }</style></head>",
        "loads https://fonts.example/f.woff from elsewhere",
    ),
    "external frame": (
        "</body>",
        '<iframe src="https://example.org"></iframe></body>',
        "from elsewhere",
    ),
    "two headings": ("</body>", "<h1>Again</h1></body>", "has 2 main headings"),
    "no heading": ('<h1 id="top">Page</h1>', "", "has 0 main headings"),
    "no title": ("<title>Page</title>", "<title> </title>", "has no title"),
    "title of a drawing only": (
        "<title>Page</title>",
        "<svg><title>Drawing</title></svg>",
        "has no title",
    ),
    "path of this machine": ("there</a>", f"{ROOT}/data</a>", "of this machine"),
    "path of another machine": ("there</a>", "/home/ann/course</a>", "of this machine"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_check_finds_a_fault(small, fault, capsys):
    before, after, problem = FAULTS[fault]
    assert before in PAGE
    (small / "index.html").write_text(PAGE.replace(before, after), encoding="utf-8")
    problems = check_site(small)
    assert problems
    assert all(p.startswith("index.html: ") for p in problems)
    assert any(problem in p for p in problems), problems
    assert check_main([str(small)]) == 1
    assert problem in capsys.readouterr().err


def test_the_check_looks_into_style_sheets(small):
    (small / "_static" / "a.css").write_text("@import 'https://fonts.example/css';")
    assert check_site(small) == [
        "_static/a.css: it loads https://fonts.example/css from elsewhere."
    ]


def test_a_search_without_the_words_of_the_course_is_found_out(small):
    (small / "searchindex.js").write_text(
        'Search.setIndex({"terms": {"lstm": 0}, "titleterms": {}})'
    )
    assert check_site(small) == ["The search does not find 'gcn'."]
    (small / "searchindex.js").unlink()
    assert check_site(small) == ["The search has no index."]


def test_a_folder_without_a_site_is_refused(tmp_path, capsys):
    assert check_main([str(tmp_path)]) == 2
    assert "There is no website" in capsys.readouterr().err


# --- a build that fails ---------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch, tmp_path, small) -> Path:
    """The folder of an old site; a build would put a small new one there, without Sphinx."""
    old = tmp_path / "out" / "site"
    shutil.copytree(small, old)
    (old / "old.txt").write_text("old")
    monkeypatch.setattr(site_build, "_require_packages", lambda: None)
    monkeypatch.setattr(site_build, "stage", lambda source: source.mkdir())
    monkeypatch.setattr(site_build, "_run_sphinx", lambda work: sphinx(work, small))
    return old


def sphinx(work: Path, site: Path) -> list[str]:
    shutil.copytree(site, work / "site")
    return []


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_good_build_replaces_the_old_site(quick):
    assert site_build.main(["--out", str(quick)]) == 0
    assert (quick / "index.html").exists()
    assert not (quick / "old.txt").exists()
    assert left_in(quick.parent) == [".site.lock", "site"]


def test_a_warning_of_the_generator_leaves_the_old_site(quick, monkeypatch, capsys, small):
    monkeypatch.setattr(
        site_build, "_run_sphinx", lambda work: [*sphinx(work, small), "x.md: WARNING: no target"]
    )
    assert site_build.main(["--out", str(quick)]) == 1
    assert "no target" in capsys.readouterr().err
    assert (quick / "old.txt").exists()
    assert left_in(quick.parent) == [".site.lock", "site"]


def test_a_fault_that_the_check_finds_leaves_the_old_site(quick, capsys, small):
    (small / "other.html").unlink()
    assert site_build.main(["--out", str(quick)]) == 1
    assert "leads nowhere" in capsys.readouterr().err
    assert (quick / "old.txt").exists()


@pytest.mark.parametrize(
    ("error", "status"), [(KeyboardInterrupt(), 130), (OSError(28, "full"), 2)]
)
def test_an_interruption_or_a_full_disk_leaves_the_old_site(
    quick, monkeypatch, capsys, error, status
):
    def stop(work):
        (work / "site").mkdir()
        raise error

    monkeypatch.setattr(site_build, "_run_sphinx", stop)
    assert site_build.main(["--out", str(quick)]) == status
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert (quick / "old.txt").exists()
    assert left_in(quick.parent) == [".site.lock", "site"]


def test_what_a_killed_build_left_is_used_and_removed(quick):
    left = quick.parent / ".site-abc"
    left.mkdir()
    quick.rename(left / "old")  # killed between the two renames
    site_build._tidy(quick)
    assert (quick / "old.txt").exists()
    assert not left.exists()


def test_two_builds_do_not_meet(quick, capsys):
    from filelock import FileLock

    with FileLock(quick.parent / ".site.lock"):
        assert site_build.main(["--out", str(quick)]) == 2
    assert "Another build" in capsys.readouterr().err


def test_a_folder_with_other_things_is_never_replaced(quick, tmp_path, capsys):
    other = tmp_path / "letters"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    assert site_build.main(["--out", str(other)]) == 2
    assert "something else" in capsys.readouterr().err
    assert (other / "letter.txt").exists()


def test_missing_packages_are_named_with_the_remedy(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(site_build, "_NEEDED", ("sphinx_of_the_future",))
    assert site_build.main(["--out", str(tmp_path / "site")]) == 2
    assert (
        capsys.readouterr().err
        == "error: The website needs sphinx_of_the_future: python -m pip install -r requirements-site.txt\n"
    )


def test_a_missing_document_stops_the_build(monkeypatch):
    monkeypatch.setitem(pages.DOCUMENTS, "glossary.md", "docs/gone.md")
    with pytest.raises(CourseError, match=r"docs/gone.md is missing"):
        pages.document_pages()


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("notebooks/03_data.ipynb", "chapters/03_data.ipynb"),
        ("notebooks/solutions/03_data.ipynb", "exercises/03_data.ipynb"),
        ("notebooks/exercises/03_data.ipynb", "exercises/03_data.ipynb"),
        ("docs/coverage.md", "coverage.md"),
        ("data/README.md", "data.md"),
        ("README.md", "start.md"),
        ("utils/run.py", None),
    ],
)
def test_files_have_their_pages(path, page):
    assert page_of(path) == page


def test_an_anchor_of_jupyter_becomes_one_of_the_site():
    assert anchor_on_page("Sums,-means-and-extremes") == "sums-means-and-extremes"
    assert anchor_on_page("Chicago-%27L%27") == "chicago-l"
    assert anchor_on_page("one-hot_encoding") == "one-hot_encoding"


def test_links_are_mapped_but_code_and_formulas_are_not():
    links = Links(ROOT, {"chapters/03_data.ipynb", "data.md", "chapters/02_autograd.ipynb"})
    origin, page = "notebooks/02_autograd.ipynb", "chapters/02_autograd.ipynb"

    def mapped(markdown):
        return links.mapped(markdown, origin, page)

    assert (
        mapped("[a](03_data.ipynb#The-Dataset-protocol)")
        == "[a](03_data.ipynb#the-dataset-protocol)"
    )
    assert mapped("[`a`](../data/README.md)") == "[`a`](../data.md)"
    assert mapped("[a](#Second-backward)") == "[a](#second-backward)"
    assert mapped("[a](https://x.org/B#C)") == "[a](https://x.org/B#C)"
    assert mapped("[a](../utils/run.py)") == "[a](path:../files/utils/run.py)"
    assert mapped("![a](../docs/images/forecast.png)") == "![a](../files/docs/images/forecast.png)"
    assert links.files == {"utils/run.py", "docs/images/forecast.png"}
    for verbatim in ("`f[i](x)`", "```\nf[i](x)\n```", "$f[i](x)$"):
        assert mapped(verbatim) == verbatim
    for wrong in ("[a](gone.ipynb)", "[a](01_tensors.ipynb)", "[a](../../etc)"):
        with pytest.raises(CourseError, match="does not exist on the site"):
            mapped(wrong)


def test_identifiers_of_papers_become_links():
    said = site_chapters.with_identifiers("*T*. arXiv:1412.6980, doi:10.1162/neco.1997.9.8.1735.\n")
    assert "[arXiv:1412.6980](https://arxiv.org/abs/1412.6980)," in said
    assert "[doi:10.1162/neco.1997.9.8.1735](https://doi.org/10.1162/neco.1997.9.8.1735)." in said
    assert site_chapters.with_identifiers(said) == said


# --- pages that are made --------------------------------------------------------------------------


def test_what_a_chapter_needs_is_read_from_its_text():
    needs = {chapter.number: chapter.needs for chapter in site_chapters.read_chapters()}
    assert needs["01"] == []
    assert needs["04"] == ["01", "02", "03"]
    assert needs["08"] == ["02", "03"]  # "chapters 04 to 07 help" is no need
    assert needs["14"] == ["08", "09", "12"]


def test_hints_are_those_of_the_checks():
    from utils.checks.engine import exercises_of

    assert site_chapters.read_hints("02") == {
        number: list(exercise.hints) for number, exercise in exercises_of("02").items()
    }


def test_an_exercise_without_hints_or_a_map_without_a_chapter_is_refused(monkeypatch):
    chapters = site_chapters.read_chapters()
    everything = {page_of(c.origin) for c in chapters} | {
        page_of(f"notebooks/exercises/{c.path.name}") for c in chapters
    }
    monkeypatch.setattr(site_chapters, "read_hints", lambda number: {})
    with pytest.raises(CourseError, match="has no hints"):
        site_chapters.exercises_notebook(chapters[0], Links(ROOT, everything))
    with pytest.raises(CourseError, match="map"):
        home.chapter_map(chapters[1:])


def test_results_show_ranges_and_the_last_run_where_there_are_any(tmp_path):
    chapters = site_chapters.read_chapters()[:1]
    result = next(r for r in results_of(chapters[0].nb)["results"] if r["baseline_name"])
    plain = pages.results_page(chapters, tmp_path / "none", tmp_path / "none")
    assert result["label"] in plain
    assert f"{result['baseline']:.{result['digits']}g} ({result['baseline_name']})" in plain
    assert "| range |" not in plain and "last run" not in plain.lower()
    bands, run = tmp_path / "bands.json", tmp_path / "results.json"
    band = {"low": 12.5, "high": 99.5}
    measured = {"seeds": [1, 2], "threads": [1], "date": "2026-01-02", "versions": {"torch": "2.0"}}
    measured["metrics"] = {result["metric"]: band}
    bands.write_text(json.dumps({"chapters": {chapters[0].path.stem: measured}}))
    last = {"name": chapters[0].path.stem, "metrics": {result["metric"]: 77.0}}
    run.write_text(
        json.dumps({"date": "2026-03-04T", "device": "cpu", "seed": 7, "chapters": [last]})
    )
    full = pages.results_page(chapters, bands, run)
    assert "12.5 to 99.5" in full and "| 77 |" in full and "seed 7" in full and "2 seeds" in full
    bands.write_text("{")
    with pytest.raises(CourseError, match=r"bands.json is damaged"):
        pages.results_page(chapters, bands, run)


# --- what is needed to build it -------------------------------------------------------------------


def pinned(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for line in text(ROOT / name).splitlines():
        if line.strip() and not line.startswith(("#", "-e")):
            requirement = Requirement(line)
            (specifier,) = requirement.specifier
            assert specifier.operator == "==", line
            found.setdefault(requirement.name, set()).add(specifier.version)
    return found


def test_the_packages_of_the_site_are_pinned_and_fit_those_of_the_course():
    site, course = pinned("requirements-site.txt"), pinned("requirements.txt")
    direct = {
        Requirement(line.split("#")[0]).name
        for line in text(ROOT / "requirements-site.in").splitlines()
        if line.split("#")[0].strip()
    }
    assert direct <= set(site)
    for name in set(site) & set(course):
        assert site[name] & course[name], name
    for name in ("requirements-site.in", "requirements-site.txt"):
        assert "://" not in text(ROOT / name)


def test_the_workflow_builds_with_pinned_actions_and_publishes_main_only():
    workflow = yaml.safe_load(text(ROOT / ".github/workflows/site.yml"))
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert len(used) == 4
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in used)
    assert any(step.get("run", "").startswith("make site") for step in steps)
    assert workflow["permissions"] == {"contents": "read"}
    assert "refs/heads/main" in workflow["jobs"]["publish"]["if"]
