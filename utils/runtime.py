"""Devices, seeds and progress bars: what every chapter needs before it starts.

This module imports torch only inside the functions that need it, so that the command line tools
start quickly.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

DEVICES = ("auto", "cpu", "cuda", "mps")

HEADLESS: bool = os.environ.get("COURSE_HEADLESS") == "1"
"""True when a runner or a test executes the notebook and nobody watches it."""


class CourseError(RuntimeError):
    """A problem the user can solve; its message is one sentence that says how."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``, or the fastest one there is for ``"auto"``.

    Args:
        name: ``"auto"`` (CUDA, else Apple's MPS, else CPU), ``"cpu"``, ``"cuda"`` or ``"mps"``.

    Raises:
        CourseError: the name is unknown, or this machine has no such device.
    """
    import torch

    if name not in DEVICES:
        raise CourseError(f"Unknown device {name!r}: choose one of {', '.join(DEVICES)}.")
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if has[device])
    if not has[name]:
        raise CourseError(
            f"This machine has no {name.upper()} device that torch {torch.__version__} can use: "
            "choose DEVICE = 'auto' or 'cpu'."
        )
    return torch.device(name)


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch (on all devices).

    Equal seeds give equal numbers on one machine with one version of torch and one thread count;
    across machines they give equal *bands*, not equal digits.

    Raises:
        CourseError: ``seed`` is not an integer from 0 to 2**32 - 1 (NumPy's limit).
    """
    import numpy as np
    import torch

    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise CourseError(f"SEED = {seed!r} will not do: give an integer from 0 to 4294967295.")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def attempt(call: Callable[[], object]) -> None:
    """Print what a call returns, or the start of its error message: for errors that teach.

    Args:
        call: a function without arguments, such as ``lambda: x @ y``.
    """
    try:
        print(call())
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).splitlines()[0].split(' - ')[0]}")


def write_atomically(text: str, path: Path) -> None:
    """Write a text file whole or not at all, whatever interrupts it.

    Raises:
        OSError: the folder cannot be written or the disk is full; the old file is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def progress(iterable: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Iterate with a progress bar that vanishes at the end, and with none when nobody watches.

    Args:
        iterable: what to iterate over.
        description: words shown left of the bar.
        total: number of items, where ``len(iterable)`` does not tell.
    """
    from tqdm import tqdm

    # stdout, not stderr: JupyterLab shades stderr red, as if something had gone wrong
    return iter(tqdm(iterable, description, total, leave=False, file=sys.stdout, disable=HEADLESS))
