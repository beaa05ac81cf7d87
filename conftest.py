"""What all tests share, those of nbval included: the environment of the kernels, the optional data."""

import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent

# two test processes and their kernels share the machine: more threads would only get in each
# other's way, and the committed outputs were made with one
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["COURSE_HEADLESS"] = "1"  # no progress bars
os.environ["COURSE_PREFIX"] = sys.prefix  # the scoreboard notices a foreign kernel


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
