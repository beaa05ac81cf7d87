"""What all tests share, those of nbval included: the environment of the kernels, the optional data."""

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import nbval.kernel
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from utils.refresh import KERNEL_STARTS

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parent

# two test processes and their kernels share the machine: more threads would only get in each
# other's way, and the committed outputs were made with one
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["COURSE_HEADLESS"] = "1"  # no progress bars
os.environ["COURSE_PREFIX"] = sys.prefix  # the scoreboard notices a foreign kernel


PRETEND_GPU = {
    "COURSE_PRETEND_GPU": "1",
    "PYTHONPATH": str(REPOSITORY / "tests" / "pretend_gpu"),
}
"""Environment in which processes take a GPU for granted: see tests/pretend_gpu/sitecustomize.py."""

# What is compared to the letter was made without the optional data, so the tests that want them get
# the folder by another name (which the processes of xdist inherit).
if "COURSE_DATA_MIRROR" in os.environ:
    os.environ["COURSE_TEST_MIRROR"] = os.environ.pop("COURSE_DATA_MIRROR")


def optional_data() -> Path | None:
    """Folder with the optional data: the one that COURSE_DATA_MIRROR names, or one beside us."""
    named = os.environ.get("COURSE_TEST_MIRROR")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if folder.is_dir() else None


MIRROR = optional_data()


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder with the optional data; a test that needs them is skipped where there are none."""
    if MIRROR is None:
        pytest.skip("the optional data are not here: set COURSE_DATA_MIRROR to their folder")
    return MIRROR


def start_again(start: Callable[..., T]) -> Callable[..., T]:
    """Return a function that starts a kernel, and another one when the first dies at once.

    What nbval starts has the same trouble as what we start: see ``utils.refresh.KERNEL_STARTS``.
    """

    @functools.wraps(start)
    def patient(*args: object, **kwargs: object) -> T:
        for _ in range(KERNEL_STARTS - 1):
            with contextlib.suppress(RuntimeError):
                return start(*args, **kwargs)
        return start(*args, **kwargs)

    return patient


nbval.kernel.start_new_kernel = start_again(nbval.kernel.start_new_kernel)


class ByNotebookAndChapter(LoadScopeScheduling):
    """Keeps together what belongs together, and no more, so that both processes are busy to the end.

    A notebook is one piece, since its cells share a kernel, and so is a file of tests; but the chapters'
    runs are independent, and so are the exercises of different chapters. (The marks of
    ``--dist=loadgroup`` would say the same; pytest 9.2 does not let xdist 3.8 see them.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)


def piece_of(nodeid: str) -> str:
    """Return the name of the piece of the suite that a test belongs to."""
    file = nodeid.partition("::")[0]
    if file.endswith("test_chapters.py"):
        return nodeid
    chapter = re.search(r"\[(\d\d)", nodeid) if file.endswith("test_exercises.py") else None
    return f"{file}-{chapter[1]}" if chapter else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Tell pytest-xdist how to share out the tests."""
    return ByNotebookAndChapter(config, log)
