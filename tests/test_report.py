"""The README says what the chapters show, and the tables say what the results hold."""

from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from utils import report
from utils.notebooks import find_chapters, read_notebook
from utils.runtime import CourseError

ROOT = Path(__file__).resolve().parents[1]
CHAPTER = {
    "name": "12_lstm",
    "status": "passed",
    "seconds": 12.3,
    "startup_seconds": 3.2,
    "device": "cpu",
    "error": None,
    "page": "notebooks/12_lstm.html",
    "bars": [{"metric": "wmape", "op": "<=", "bound": 0.05, "value": 0.04, "passed": True}],
    "slowest_cells": [{"cell": 3, "seconds": 1.5, "source": "train(<model>)"}],
    "headline": {
        "label": "WMAPE",
        "value": 0.0412,
        "digits": 3,
        "op": "<=",
        "bound": 0.05,
        "baseline": 0.094,
        "baseline_name": "last week",
    },
}


def test_the_readme_shows_the_results_of_the_committed_chapters():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert report.with_table(text, report.readme_table(find_chapters())) == text, "run make refresh"


def test_the_picture_of_the_readme_is_the_chapters():
    (chapter,) = find_chapters(["12"])
    picture = report.picture_of(read_notebook(chapter), "forecast")
    assert (ROOT / "docs" / "images" / "forecast.png").read_bytes() == picture, "run make refresh"


def test_a_headline_stands_beside_bar_and_baseline():
    assert report.headline_text(CHAPTER) == "WMAPE: 0.0412 (bar <= 0.05; last week 0.094)"
    plain = {**CHAPTER["headline"], "op": None, "baseline_name": None}
    assert report.headline_text({**CHAPTER, "headline": plain}) == "WMAPE: 0.0412"
    assert report.headline_text({**CHAPTER, "error": "It failed."}) == "It failed."


def test_the_closing_table_names_every_chapter():
    failed = {
        **CHAPTER,
        "name": "13_x",
        "status": "failed",
        "error": "It failed.",
        "headline": None,
    }
    lines = report.closing_table({"chapters": [CHAPTER, failed]}).splitlines()
    assert lines[2].split()[:4] == ["12_lstm", "passed", "12.3", "3.2"]
    assert lines[3].split()[:2] == ["13_x", "failed"]
    assert lines[3].endswith("It failed.")


def test_the_page_escapes_what_it_shows():
    results = {
        "date": "2026-01-02T03:04:05",
        "seconds": 12.0,
        "git": None,
        "versions": {"torch": "2.15.0"},
        "machine": {"system": "Linux", "cores": 2},
        "chapters": [CHAPTER, {**CHAPTER, "status": "failed", "error": "<script>", "page": None}],
    }
    page = report.report_page(results)
    assert "train(&lt;model&gt;)" in page
    assert "<script>" not in page
    assert "1 of\n2 chapters passed" in page
    assert page.count('href="notebooks/12_lstm.html"') == 1


def test_an_unfinished_chapter_or_a_readme_without_place_is_refused(tmp_path):
    with pytest.raises(CourseError, match="no lines"):
        report.with_table("# A readme", "| table |")
    with pytest.raises(CourseError, match="holds the word 'forecast'"):
        report.picture_of(new_notebook(cells=[]), "forecast")


def test_the_picture_is_found_by_its_description():
    def shown(alt, data):
        return new_output("display_data", {"image/png": data}, metadata={"image/png": {"alt": alt}})

    nb = new_notebook(
        cells=[new_code_cell(outputs=[shown("a map", "QQ=="), shown("Forecast", "Qg==")])]
    )
    assert report.picture_of(nb, "forecast") == b"B"
