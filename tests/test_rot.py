"""The rot guard tries the versions that it says, and a warning about our own code is an error."""

import os
import subprocess
import sys

import pytest

from conftest import REPOSITORY
from tools import rot
from utils.run import kernel_environment

ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": rot.warnings_as_errors(REPOSITORY)}


def warn_in(module: str, category: str = "DeprecationWarning") -> subprocess.CompletedProcess[str]:
    """Let code that runs under the name of a module call something that is about to disappear."""
    call = f"import warnings; warnings.warn('soon gone', {category})"
    return subprocess.run(
        [sys.executable, "-c", f"exec({call!r}, {{'__name__': {module!r}}})"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", ["__main__", "utils.datasets", "utils.checks.ch03", "test_run"])
@pytest.mark.parametrize("category", rot.WARNINGS)
def test_a_warning_about_our_own_code_is_an_error(module, category):
    done = warn_in(module, category)
    assert done.returncode == 1
    assert "soon gone" in done.stderr


def test_a_warning_about_another_package_is_none():
    assert warn_in("numpy.core").returncode == 0


def test_a_cell_that_warns_is_an_error(tmp_path):
    """IPython has filters of its own, so the cell of a notebook is a case of its own."""
    from nbformat import v4

    from utils.refresh import kernel_client

    warn = "import warnings\nwarnings.warn('soon gone', DeprecationWarning)"
    nb = v4.new_notebook(cells=[v4.new_code_cell(f"try:\n    {'; '.join(warn.splitlines())}\n"
        "except DeprecationWarning as error:\n    print('caught', error)")])  # fmt: skip
    environment = {
        **kernel_environment(tmp_path, 1),
        "PYTHONWARNINGS": ENVIRONMENT["PYTHONWARNINGS"],
    }
    kernel_client(nb, tmp_path, 60).execute(env=environment)
    assert "caught soon gone" in nb.cells[0].outputs[0].text


def test_the_oldest_versions_are_the_promised_ones():
    wanted, constraints = rot.requirements("oldest", REPOSITORY)
    assert {"torch==2.11.0", "torchvision==0.26.0", "numpy"} <= set(wanted)
    assert not [c for c in constraints if c.startswith(("torch", "nvidia", "triton", "cuda"))]
    assert any(c.startswith("pandas==") for c in constraints)


def test_the_newest_versions_are_not_held_back():
    wanted, constraints = rot.requirements("newest", REPOSITORY)
    assert {"torch", "torchvision", "numpy", "nbval"} <= set(wanted)
    assert not constraints
    assert not [w for w in wanted if "=" in w or "#" in w]


def test_unknown_versions_are_one_sentence(capsys):
    assert rot.main(["ancient"]) == 2
    assert capsys.readouterr().err == (
        "error: There are no versions 'ancient': say oldest or newest.\n"
    )
