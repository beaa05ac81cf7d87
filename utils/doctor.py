"""Look for what is wrong with an installation: ``python -m utils.doctor`` (or ``make doctor``).

Each check prints one line; a problem comes with the sentence that solves it. Exit status 1 when there
is a problem, else 0. Only the standard library is imported before the checks have run, so that the
doctor also works where nothing else does.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SET_UP = "run `make setup` (or: python -m pip install -r requirements.txt)"


class Problem(Exception):
    """Something is wrong; the message says what to do about it."""


def check_python() -> str:
    """Python is new enough, and this is the environment of the course."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 (that is what is examined)
        raise Problem(f"Python {version} is too old: install Python 3.11, 3.12 or 3.13.")
    if sys.prefix == sys.base_prefix and "CONDA_PREFIX" not in os.environ:
        return f"Python {version} (not a virtual environment: fine if you meant it)"
    return f"Python {version}"


def check_packages() -> str:
    """What requirements.txt asks for is installed, in the versions it names."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        raise Problem(f"The course's packages are not installed: {SET_UP}.") from None
    missing, other = [], []
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if not line.strip() or line.startswith(("#", "-e")):
            continue
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        if requirement.name.startswith(("nvidia-", "cuda-")) or requirement.name == "triton":
            continue  # a CPU build of torch comes without them
        try:
            installed = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            missing.append(requirement.name)
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            other.append(f"{requirement.name} {installed}")
    if missing:
        raise Problem(f"Not installed: {', '.join(missing[:6])}; {SET_UP}.")
    if other:
        return f"packages: {len(other)} in other versions than tested ({', '.join(other[:4])})"
    return "packages: all in the tested versions"


def check_torch() -> str:
    """torch works, and torchvision fits it."""
    try:
        import torch
    except ImportError as error:
        raise Problem(f"torch does not load ({error}): {SET_UP}.") from None
    if tuple(map(int, torch.__version__.split("+")[0].split(".")[:2])) < (2, 11):
        raise Problem(f"torch {torch.__version__} is too old, 2.11 is the oldest: {SET_UP}.")
    try:
        import torchvision
    except (ImportError, RuntimeError) as error:
        if "nms does not exist" in str(error):
            raise Problem(
                "torchvision was built for another torch (most often: a CPU-only torch beside the "
                "index's torchvision): reinstall both together as in the README's install table."
            ) from None
        raise Problem(f"torchvision does not load ({error}): {SET_UP}.") from None
    total = (torch.ones(3) * 2).sum().item()
    if total != 6:
        raise Problem(f"torch computes wrongly (2 + 2 + 2 = {total}): {SET_UP}.")
    return f"torch {torch.__version__}, torchvision {torchvision.__version__}"


def check_devices() -> str:
    """Which devices a chapter can use; a card that torch cannot use is a problem."""
    import torch

    if torch.cuda.is_available():
        torch.ones(1, device="cuda").add_(1)
        return f"devices: CPU, CUDA ({torch.cuda.get_device_name(0)})"
    if torch.backends.mps.is_available():
        return "devices: CPU, MPS (Apple)"
    if shutil.which("nvidia-smi"):
        raise Problem(
            "There is an NVIDIA driver, but torch cannot use the card: update the driver, or install "
            "a torch build for its CUDA version; until then DEVICE=cpu works."
        )
    return "devices: CPU (no GPU; every chapter is made for that)"


def check_repository() -> str:
    """The package `utils` is this repository's, not another clone's."""
    spec = importlib.util.find_spec("utils")
    found = Path(spec.origin).resolve().parent if spec and spec.origin else None
    if found != ROOT / "utils":
        raise Problem(f"`import utils` finds {found}: {SET_UP} in this clone.")
    shadow = ROOT / "notebooks" / "utils.py"
    if shadow.exists():
        raise Problem("notebooks/utils.py hides the package `utils`: rename or remove that file.")
    return "utils: from this repository"


def check_kernel() -> str:
    """Notebooks run in this environment, and Jupyter can write its files."""
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_core.paths import jupyter_runtime_dir

    spec = KernelSpecManager().get_kernel_spec("python3")
    command = Path(spec.argv[0])
    if command.is_absolute() and command.resolve() != Path(sys.executable).resolve():
        raise Problem(
            f"The kernel 'python3' belongs to another Python ({command}): remove it with "
            "`jupyter kernelspec remove python3`, then start JupyterLab with `make lab`."
        )
    folder = Path(jupyter_runtime_dir())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise Problem(
            f"Jupyter cannot write {folder}: make it writable or set JUPYTER_RUNTIME_DIR."
        )
    return "kernel: this environment's"


def check_fonts() -> str:
    """matplotlib finds its font and can draw."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import font_manager

    try:
        font_manager.findfont("DejaVu Sans", fallback_to_default=False)
    except ValueError:
        raise Problem(
            "matplotlib does not find its font DejaVu Sans: remove its font cache, the folder "
            f"{matplotlib.get_cachedir()}."
        ) from None
    return f"matplotlib {matplotlib.__version__}: fonts found"


def check_disk() -> str:
    """Room for the results of a run."""
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < 0.5:
        raise Problem(f"Only {free:.1f} GB are free on this disk: free at least 0.5 GB.")
    return f"disk: {free:.0f} GB free"


def check_data() -> str:
    """The bundled data are there and undamaged."""
    from utils import datasets
    from utils.runtime import CourseError

    try:
        names = datasets.verify_bundled()
    except CourseError as error:
        raise Problem(str(error)) from None
    return f"data: {len(names)} bundled files as their checksums say"


def check_training() -> str:
    """Two seconds of training on real data end where they should."""
    import torch

    from utils.datasets import load_mnist
    from utils.metrics import accuracy

    torch.manual_seed(0)
    data = load_mnist()
    x, x_test = (torch.tensor(i).flatten(1) / 255 for i in (data.train_images, data.test_images))
    y, y_test = torch.tensor(data.train_labels), torch.tensor(data.test_labels)
    net = torch.nn.Sequential(
        torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, len(data.class_names))
    )
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    started = time.perf_counter()
    steps = 0
    while (seconds := time.perf_counter() - started) < 2 and steps < 1000:
        rows = torch.randint(len(x), (100,))
        loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    with torch.no_grad():
        score = accuracy(net(x_test), y_test)
    if steps < 200:
        raise Problem(
            f"Only {steps} training steps in two seconds: close other programs, or set "
            "OMP_NUM_THREADS=1 when several notebooks run at once."
        )
    if score < 0.85:
        raise Problem(f"{steps} steps of training reach only {score:.2f} on MNIST: {SET_UP}.")
    return f"training: {steps} steps in {seconds:.1f} s, {score:.3f} on handwritten digits"


CHECKS: tuple[Callable[[], str], ...] = (
    check_python,
    check_packages,
    check_torch,
    check_devices,
    check_repository,
    check_kernel,
    check_fonts,
    check_disk,
    check_data,
    check_training,
)


def examine(checks: tuple[Callable[[], str], ...] = CHECKS) -> Iterator[tuple[bool, str]]:
    """Run the checks one after the other; yield whether each is well, and its sentence."""
    for check in checks:
        try:
            yield True, check()
        except Problem as problem:
            yield False, str(problem)
        except Exception as error:  # the doctor must not fall ill itself
            yield False, f"{check.__name__} failed ({type(error).__name__}: {error}): {SET_UP}."


def main() -> int:
    """Print one line a check; 1 when there is a problem."""
    problems = 0
    for well, sentence in examine():
        print(f"{'ok' if well else 'PROBLEM':8} {sentence}", flush=True)
        problems += not well
    print("Everything is fine." if not problems else f"{problems} to solve.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
