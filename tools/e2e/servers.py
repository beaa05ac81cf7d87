"""A JupyterLab and a web server of our own, on free ports of this machine only.

Both are context managers: what they start ends with them, also after an error or Ctrl-C.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.e2e.browser import PATIENCE
from utils.runtime import CourseError

LOOPBACK = "127.0.0.1"
START_LIMIT = 120 * PATIENCE
"""Seconds that JupyterLab may take to answer."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    # the question whether to fetch news would lie over the screenshots
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@dataclass(frozen=True)
class Lab:
    """A JupyterLab that runs.

    Attributes:
        url: its address, with a slash at the end.
        notebooks: the copy of the notebooks that it serves.
        progress: the file that records which exercises are solved.
    """

    url: str
    notebooks: Path
    progress: Path


@contextlib.contextmanager
def jupyterlab(notebooks: Path, log: Path) -> Iterator[Lab]:
    """Run JupyterLab on a copy of the notebooks, with settings of its own.

    Args:
        notebooks: the folder to copy.
        log: file for what the server prints.

    Raises:
        CourseError: it does not start.
    """
    # kernels may still write when the folder is removed
    with tempfile.TemporaryDirectory(prefix="course-e2e-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        copy = home / "notebooks"
        shutil.copytree(notebooks, copy, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        _write_settings(home / "settings")
        lab = Lab(f"http://{LOOPBACK}:{_free_port()}/", copy, home / "progress.json")
        with log.open("w", encoding="utf-8") as output:
            server = subprocess.Popen(
                _command(lab),
                env=_environment(home, lab),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we then end the server ourselves
            )
            try:
                _wait_until_it_answers(lab, server, log)
                yield lab
            finally:
                _end(server)


def _command(lab: Lab) -> list[str]:
    port = lab.url.rstrip("/").rpartition(":")[2]
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *(f"--ip={LOOPBACK}", f"--port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={lab.notebooks}"),
    ]


def _environment(home: Path, lab: Lab) -> dict[str, str]:
    """Nothing of the user's own Jupyter is read or written; kernels run as for a reader."""
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "share",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = os.environ | {variable: str(home / f) for variable, f in folders.items()}
    environment |= {"COURSE_PROGRESS": str(lab.progress), "COURSE_PREFIX": sys.prefix}
    # as for the committed outputs; two spinning threads starve the browser
    environment.setdefault("OMP_NUM_THREADS", "1")
    environment.pop("COURSE_HEADLESS", None)  # the progress bars are wanted here
    return environment


def _write_settings(folder: Path) -> None:
    for name, values in SETTINGS.items():
        file = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), encoding="utf-8")


def _wait_until_it_answers(lab: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            direct.open(f"{lab.url}api", timeout=5).close()
            return
        time.sleep(0.1)
    raise CourseError(f"JupyterLab did not start: see {log}.")


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()  # it shuts its kernels down
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()  # the kernels notice that their parent is gone
        server.wait()


@contextlib.contextmanager
def static(folder: Path) -> Iterator[str]:
    """Serve a folder and give its address, with a slash at the end.

    Args:
        folder: what to serve.
    """
    handler = functools.partial(_Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
