"""A figure is shown with its description, and closed."""

import base64

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from utils.plots import COLORS, show, use_course_style


@pytest.fixture
def shown(monkeypatch):
    mpl.use("agg")
    plt.close("all")
    calls = []
    monkeypatch.setattr("IPython.display.display", lambda data, **more: calls.append((data, more)))
    return calls


def test_the_description_is_there_for_screen_readers_and_for_text(shown):
    plt.plot([1, 2])
    show("a rising line")
    data, more = shown[0]
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert data["text/plain"] == "Figure: a rising line"
    assert more["metadata"] == {"image/png": {"alt": "a rising line"}}
    assert plt.get_fignums() == []


def test_the_same_figure_gives_the_same_bytes(shown):
    for _ in range(2):
        plt.plot([1, 2])
        show("a rising line")
    assert shown[0] == shown[1]


def test_a_figure_without_description_or_no_figure_is_refused(shown):
    with pytest.raises(ValueError, match="no figure"):
        show("nothing")
    plt.plot([1, 2])
    with pytest.raises(ValueError, match="describe"):
        show("  ")
    plt.close("all")


def test_the_style_is_white_so_that_it_reads_on_dark_pages():
    with mpl.rc_context():
        use_course_style()
        assert mpl.rcParams["figure.facecolor"] == "white"
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"][0] == COLORS["blue"]
