"""What the tests share: where the optional data are, and one thread for each process."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# two test processes and their kernels share the machine: more threads would only get in each
# other's way, and the committed outputs were made with one
os.environ.setdefault("OMP_NUM_THREADS", "1")


def optional_data() -> Path | None:
    """Folder with the optional data: the one that COURSE_DATA_MIRROR names, or one beside us."""
    named = os.environ.get("COURSE_DATA_MIRROR")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    return folder if folder.is_dir() else None


MIRROR = optional_data()
# what is compared to the letter was made without the optional data
os.environ.pop("COURSE_DATA_MIRROR", None)


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder with the optional data; a test that needs them is skipped where there are none."""
    if MIRROR is None:
        pytest.skip("the optional data are not here: set COURSE_DATA_MIRROR to their folder")
    return MIRROR
