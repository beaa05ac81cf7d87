"""Build the website: stage the sources, run Sphinx on them, check, replace the old site.

Everything happens in a folder beside the site, which takes its place when all is well: a build that
fails, or is killed, leaves the old site as it was. Exit status: 0 when the site is new, 1 when it
would have faults, 2 when it cannot be built here, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import metadata, util
from pathlib import Path

from tools.site.check import SITE, check_site
from tools.site.links import FILES, Links, page_of
from utils.notebooks import repository_root, write_notebook
from utils.runtime import CourseError, write_atomically

_HERE = Path(__file__).parent
_NEEDED = ("sphinx", "myst_nb", "furo", "sphinx-mathjax-offline")
_MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"


class FaultySite(CourseError):
    """The site could be built, but has faults; they have been printed."""


def build(out: Path) -> None:
    """Build the site into a folder.

    Args:
        out: where it goes; an older site there is replaced.

    Raises:
        FaultySite: Sphinx or the check found faults; the old site is untouched.
        CourseError: the site cannot be built here; the old site is untouched.
    """
    _require_packages()
    out = out.resolve()
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not _is_site(out))):
        raise CourseError(f"{out} holds something else than a website: name another folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with _own(out) as work:
        stage(work / "source")
        faults = _run_sphinx(work) + check_site(work / "site")
        for fault in faults:
            print(f"error: {fault}", file=sys.stderr)
        if faults:
            raise FaultySite(f"The website has {len(faults)} faults, so the old one stays.")
        if out.exists():
            out.rename(work / "old")
        (work / "site").rename(out)


def _require_packages() -> None:
    if missing := [name for name in _NEEDED if util.find_spec(name) is None]:
        raise CourseError(
            f"The website needs {', '.join(missing)}: python -m pip install -r requirements-site.txt"
        )


def _is_site(folder: Path) -> bool:
    return (folder / "searchindex.js").is_file()


@contextlib.contextmanager
def _own(out: Path) -> Iterator[Path]:
    """A folder to work in beside the site, for one build at a time; what an old one left is removed."""
    from filelock import FileLock, Timeout

    try:
        with FileLock(out.parent / f".{out.name}.lock", timeout=0):
            _tidy(out)
            work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
            work.chmod(0o755)
            try:
                yield work
            finally:
                if not out.exists() and _is_site(work / "old"):
                    (work / "old").rename(out)
                shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        raise CourseError(f"Another build of {out} is running: wait until it ends.") from None


def _tidy(out: Path) -> None:
    for left in out.parent.glob(f".{out.name}-*"):
        if not out.exists() and _is_site(left / "old"):  # killed between the two renames
            (left / "old").rename(out)
        shutil.rmtree(left, ignore_errors=True)


# --- sources --------------------------------------------------------------------------------------


def stage(source: Path) -> None:
    """Write the sources of all pages, with their links mapped, and all that they show or offer.

    Args:
        source: the folder to fill.

    Raises:
        CourseError: a page is missing or a link leads nowhere.
    """
    from tools.site.chapters import chapter_notebook, exercises_notebook, read_chapters
    from tools.site.home import HOME, home_page, readme_text, start_page
    from tools.site.pages import document_pages, exercises_page, results_page

    root, chapters, documents = repository_root(), read_chapters(), document_pages()
    exercise_pages = [page_of(f"notebooks/exercises/{c.path.name}") for c in chapters]
    chapter_pages = [page_of(c.origin) for c in chapters]
    generated = {
        HOME: "",
        "start.md": start_page(readme_text()),
        "exercises/index.md": exercises_page(chapters),
        "results.md": results_page(
            chapters, root / "docs" / "bands.json", root / "build" / "results.json"
        ),
    }
    links = Links(root, {*generated, *documents, *chapter_pages, *exercise_pages})
    generated["start.md"] = links.mapped(generated["start.md"], "README.md", "start.md")
    generated[HOME] = home_page(readme_text(), chapters, links)
    for page, (text, origin) in documents.items():
        generated[page] = links.mapped(text, origin, page)
    for folder in ("chapters", "exercises"):
        (source / folder).mkdir(parents=True)
    for page, text in generated.items():
        write_atomically(text, source / page)
    for chapter, page, exercises in zip(chapters, chapter_pages, exercise_pages, strict=True):
        write_notebook(chapter_notebook(chapter, links), source / page)
        write_notebook(exercises_notebook(chapter, links), source / exercises)
    for path in links.files:
        (source / FILES / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, source / FILES / path)
    shutil.copyfile(_HERE / "conf.py", source / "conf.py")
    shutil.copytree(_HERE / "templates", source / "_templates")
    shutil.copytree(_HERE / "static", source / "_static")
    (source / "_static" / "mathjax").mkdir()
    mathjax = metadata.distribution("sphinx-mathjax-offline").locate_file(_MATHJAX)
    shutil.copyfile(Path(str(mathjax)), source / "_static" / "mathjax" / Path(_MATHJAX).name)


# --- Sphinx ---------------------------------------------------------------------------------------


def _run_sphinx(work: Path) -> list[str]:
    """Make the pages and return what Sphinx complains about."""
    command = [
        *(sys.executable, "-m", "sphinx", "-q", "-b", "html", "--keep-going"),
        *("-d", str(work / "doctrees"), str(work / "source"), str(work / "site")),
    ]
    done = subprocess.run(
        command,
        cwd=repository_root(),
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stderr.replace(f"{work / 'source'}{os.sep}", "")
    complaints = [line for line in said.splitlines() if line.strip()]
    if done.returncode and not complaints:
        complaints = [f"Sphinx ended with status {done.returncode}."]
    for junk in ("objects.inv", ".buildinfo", ".buildinfo.bak"):
        (work / "site" / junk).unlink(missing_ok=True)
    return complaints


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what the command line asks for and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.site", description=__doc__)
    parser.add_argument("--out", type=Path, default=SITE, help="folder of the site")
    options = parser.parse_args(arguments)
    try:
        build(options.out)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if isinstance(error, FaultySite) else 2
    except OSError as error:
        print(f"error: {options.out} cannot be written: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted; the old website stays.", file=sys.stderr)
        return 130
    print(f"the website is in {options.out}: open {options.out / 'index.html'}")
    return 0
