"""Look for what time has broken: ``python -m tools.rot [oldest] [newest]`` (``make rot``).

The whole suite runs in a fresh environment with the oldest supported torch, and in one with the newest
versions of everything. What our own code calls and is about to disappear (a DeprecationWarning or a
FutureWarning that points at a chapter, at `utils`, `tools` or a test) counts as an error.
The environments and the logs go to ``build/rot/``. Exit status: 0 when all is well, 1 when a suite
failed, 2 when an environment could not be made.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from utils.notebooks import repository_root
from utils.runtime import CourseError, write_atomically

OLDEST = {"torch": "2.11.0", "torchvision": "0.26.0"}
"""The oldest versions that the course promises to run with."""
GOES_WITH_TORCH = re.compile(r"(torch|torchvision|triton|nvidia-.*|cuda-.*|setuptools)\b")
WARNINGS = ("DeprecationWarning", "FutureWarning", "PendingDeprecationWarning")


def own_modules(root: Path) -> list[str]:
    """Return the names under which Python runs our own code; a notebook's cells are ``__main__``."""
    packages = [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for package in ("utils", "tools")
        for path in sorted((root / package).rglob("*.py"))
    ]
    return ["__main__", *packages, *sorted(path.stem for path in (root / "tests").glob("*.py"))]


def warnings_as_errors(root: Path) -> str:
    """Return a value of PYTHONWARNINGS that turns warnings about our own code into errors.

    Python compares the name of the module whole, so every module is named.
    """
    return ",".join(f"error::{w}:{module}" for module in own_modules(root) for w in WARNINGS)


def requirements(which: str, root: Path) -> tuple[list[str], list[str]]:
    """Return what to install and what to hold it to.

    Args:
        which: ``oldest`` (the torch of :data:`OLDEST`, all else as locked) or ``newest``.
        root: the repository.

    Returns:
        Requirements and constraints, one a line.
    """
    wanted = [*_lines(root / "requirements.in"), *_lines(root / "requirements-site.in")]
    names = [re.split(r"[=<>~;\[ ]", line)[0] for line in wanted if not line.startswith("-")]
    if which == "newest":
        return names, []
    locked = [*_lines(root / "requirements.txt"), *_lines(root / "requirements-site.txt")]
    locked = sorted({line for line in locked if not line.startswith("-")})
    constraints = [line for line in locked if not GOES_WITH_TORCH.match(line)]
    return [f"{name}=={OLDEST[name]}" if name in OLDEST else name for name in names], constraints


def _lines(path: Path) -> list[str]:
    lines = [
        line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").split("\n")
    ]
    return [line for line in lines if line]


def make_environment(which: str, root: Path, folder: Path) -> Path:
    """Install into a fresh environment and return its Python.

    Raises:
        CourseError: something cannot be installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted, constraints = requirements(which, root)
    write_atomically("\n".join([*wanted, f"-e {root}"]) + "\n", folder / "requirements.txt")
    write_atomically("\n".join(constraints) + "\n", folder / "constraints.txt")
    venv.create(folder / "venv", clear=True, with_pip=True)
    binaries = "Scripts" if os.name == "nt" else "bin"
    python = folder / "venv" / binaries / ("python.exe" if os.name == "nt" else "python")
    done = subprocess.run(
        [
            *(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("-r", folder / "requirements.txt", "-c", folder / "constraints.txt"),
        ],
        check=False,
    )
    if done.returncode:
        raise CourseError(f"The {which} versions cannot be installed; pip says above why.")
    return python


def run_suite(python: Path, root: Path, log: Path, arguments: Sequence[str]) -> int:
    """Run the tests with warnings as errors, show and keep what they print."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment["PYTHONWARNINGS"] = warnings_as_errors(root)
    command = [str(python), "-m", "pytest", "-n", "2", *arguments]
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        ) as process,
    ):
        for line in process.stdout or ():
            print(line, end="", flush=True)
            file.write(line)
    return process.returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Try what the command line names and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.rot", description=__doc__)
    parser.add_argument("which", nargs="*", help="oldest, newest; both when left out")
    parser.add_argument("--pytest", default="", help='such as "-k scoreboard"; all when left out')
    options = parser.parse_args(arguments)
    root = repository_root()
    statuses = {}
    try:
        for which in options.which or ("oldest", "newest"):
            if which not in ("oldest", "newest"):
                raise CourseError(f"There are no versions {which!r}: say oldest or newest.")
            folder = root / "build" / "rot" / which
            python = make_environment(which, root, folder)
            statuses[which] = run_suite(python, root, folder / "log.txt", options.pytest.split())
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for which, status in statuses.items():
        print(f"{which}: {'passed' if status == 0 else 'FAILED'}; see build/rot/{which}/log.txt")
    return int(any(statuses.values()))


if __name__ == "__main__":
    sys.exit(main())
