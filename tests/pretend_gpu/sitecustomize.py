"""A GPU that is only pretended: device mistakes show up on machines without one.

Python imports this module when it starts, where the folder is on PYTHONPATH. Then
``torch.cuda.is_available()`` is true, and ``"cuda"`` is a device. What lies there lies in ordinary memory in
truth, but its storage carries a label, and a mistake is refused as a real GPU refuses it:

- an operation on tensors of both devices, but for CPU tensors without dimensions, and for indices on the CPU
  into a tensor on the GPU;
- turning a tensor on the GPU into an array;
- random numbers on the GPU from a generator of the CPU.

Results are those of the CPU. Speed, memory, kernels and rounding of a GPU are not pretended.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
ARRAY = (
    "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
    "memory first."
)
TWO = (
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
)

# --- which storages lie on the GPU ----------------------------------------------------------------

_labels: dict[int, StorageWeakRef] = {}
"""Storages on the GPU by their address; the weak reference tells when an address serves again."""
_real_device = torch._C.TensorBase.device.__get__
_has_numbers = torch._C.TensorBase.is_cpu.__get__  # others are shapes only
_storage = torch._C.TensorBase.untyped_storage


def _labelled(tensor: torch.Tensor) -> bool:
    part = tensor._values() if tensor.is_sparse else tensor
    label = _labels.get(_storage(part)._cdata)
    return label is not None and not label.expired()


def on_gpu(tensor: torch.Tensor) -> bool:
    """Tell whether a tensor is said to be on the GPU."""
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return _has_numbers(tensor) and _labelled(tensor)


def put(tensor: torch.Tensor, on: bool = True) -> torch.Tensor:
    """Say that a tensor's storage is on the GPU, or that it is not."""
    for part in (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,):
        storage = _storage(part)
        if on:
            _labels[storage._cdata] = StorageWeakRef(storage)
        else:
            _labels.pop(storage._cdata, None)
    return tensor


# --- every operation is looked at -----------------------------------------------------------------

_PACKS = {"aten::_pack_padded_sequence", "aten::_pad_packed_sequence"}
"""Operations that want numbers on the GPU and lengths on the CPU, and return both."""
_MOVES = {"aten::copy_", "aten::_to_copy", *_PACKS}
"""Operations that take tensors of both devices."""
_INDEX = {
    *("aten::index", "aten::_unsafe_index", "aten::index_put", "aten::index_put_"),
    "aten::_index_put_impl_",
}
"""Operations whose indices may be on the CPU."""


def _tensors(content: Iterable[Any], found: list[torch.Tensor] | None = None) -> list[torch.Tensor]:
    """The tensors among the arguments of an operation, or among its results."""
    found = [] if found is None else found
    for part in content:
        if isinstance(part, torch.Tensor):
            if _has_numbers(part):
                found.append(part)
        elif isinstance(part, list | tuple):
            _tensors(part, found)
    return found


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


class PretendedGPU(TorchDispatchMode):
    """Looks at every operation: are its tensors on one device, and where is the result?"""

    paused = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        there = [(t, _labelled(t)) for t in _tensors(args)]
        device = None
        if kwargs:
            there += [(t, _labelled(t)) for t in _tensors(kwargs.values())]
            device = kwargs.get("device")
        named_gpu = device is not None and device.type == "cuda"
        if named_gpu:
            if kwargs.get("generator") is not None:
                raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
            kwargs = {**kwargs, "device": CPU}
        some_gpu = any(gpu for _, gpu in there)
        if not (named_gpu or some_gpu):
            return func(*args, **kwargs or {})
        name = func._schema.name
        if some_gpu and name not in _MOVES:
            _refuse_two_devices(name, args, there)
        result = func(*args, **kwargs or {})
        # "device=cpu" tells nothing: C++ writes it, because for C++ everything is on the CPU
        if name != "aten::copy_" and (named_gpu or name not in _INDEX or there[0][1]):
            found = _tensors(result if isinstance(result, list | tuple) else [result])
            for tensor in found[:1] if name in _PACKS else found:
                put(tensor)
        return result


def _refuse_two_devices(name: str, args: tuple, there: list[tuple[torch.Tensor, bool]]) -> None:
    """Raise what a GPU raises when an operation gets tensors of both devices."""
    if name in _INDEX:  # indices on the CPU will do, also for a tensor on the GPU
        indices = {id(t) for t in _tensors(args[1])}
        if not there[0][1] and any(gpu for t, gpu in there if id(t) in indices):
            raise RuntimeError("indices should be either on cpu or on the same device (cpu)")
        there = [(t, gpu) for t, gpu in there if id(t) not in indices]
    with_shape = {gpu for t, gpu in there if t.dim()}
    single = any(gpu for t, gpu in there if not t.dim())
    if with_shape == {True, False} or (with_shape == {False} and single):
        raise RuntimeError(f"{TWO} (in {name.removeprefix('aten::')})")


# --- what Python asks a tensor --------------------------------------------------------------------


class _Move(torch.autograd.Function):
    """A copy on the other device; the gradient goes back to where the tensor came from."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, to_gpu: bool) -> torch.Tensor:
        ctx.to_gpu = to_gpu
        return put(tensor.detach().clone(), to_gpu)

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None]:
        return put(slope.detach().clone(), not ctx.to_gpu), None


def _move(tensor: torch.Tensor, to_gpu: bool) -> torch.Tensor:
    return tensor if on_gpu(tensor) == to_gpu else _Move.apply(tensor, to_gpu)


def _wrap(owner: Any, name: str) -> Callable[[Callable], None]:
    """Put a function in the place of another one, which it gets as its first argument."""
    original = getattr(owner, name)

    def install(function: Callable) -> None:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(original, *args, **kwargs)

        setattr(owner, name, call)

    return install


def _leave_pytorch_alone(mode: PretendedGPU) -> None:
    """Let PyTorch's own machinery run without a look at its operations, which saves much time.

    What comes out of it is labelled afterwards: a gradient is where its tensor is.
    """
    tensor = torch.Tensor

    def unwatched(owner: Any, name: str) -> None:
        @_wrap(owner, name)
        def call(original: Callable, *args: Any, **kwargs: Any) -> Any:
            mode.__exit__(None, None, None)
            mode.paused += 1  # meanwhile everything is where it is in truth
            try:
                return original(*args, **kwargs)
            finally:
                mode.paused -= 1
                mode.__enter__()

    unwatched(tensor, "backward")
    unwatched(torch.autograd, "grad")
    for optimizer in (getattr(torch.optim, name) for name in torch.optim.__all__):
        if isinstance(optimizer, type) and "step" in vars(optimizer):
            unwatched(optimizer, "step")

    @_wrap(torch.autograd, "grad")
    def grad(original: Callable, outputs: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        of = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
        slopes = original(outputs, of, *args, **kwargs)
        for start, slope in zip(of, slopes, strict=True):
            if slope is not None:
                put(slope, on_gpu(start))
        return slopes

    slope_of = torch._C.TensorBase.grad

    def labelled_slope(self: torch.Tensor) -> torch.Tensor | None:
        slope = slope_of.__get__(self)
        return slope if slope is None else put(slope, on_gpu(self))

    tensor.grad = property(labelled_slope, slope_of.__set__, slope_of.__delete__)


def _answer_for_tensors(mode: PretendedGPU) -> None:
    """Say of tensors where they are, and move them."""
    tensor = torch.Tensor
    tensor.device = property(
        lambda self: GPU if not mode.paused and on_gpu(self) else _real_device(self)
    )
    tensor.is_cuda = property(lambda self: self.device.type == "cuda")
    tensor.is_cpu = property(lambda self: self.device.type == "cpu")
    tensor.cuda = lambda self, *_, **__: self.to(GPU)
    tensor.cpu = lambda self, *_, **__: self.to(CPU)

    @_wrap(tensor, "to")
    def to(original: Callable, self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        target, rest = kwargs.pop("device", None), []
        for arg in args[1:] if args[:1] == (None,) else args:  # None: no device
            if isinstance(arg, str | torch.device | int) and not isinstance(arg, bool):
                target = GPU if isinstance(arg, int) else torch.device(arg)
            elif isinstance(arg, torch.Tensor):
                target, rest = arg.device, [arg.dtype]
            else:
                rest.append(arg)
        if target is not None and torch.device(target).type not in ("cpu", "cuda"):
            return original(self, target, *rest, **kwargs)
        self = original(self, _real_device(self), *rest, **kwargs) if rest or kwargs else self
        return self if target is None else _move(self, _is_gpu(target))

    for name in ("numpy", "__array__"):

        @_wrap(tensor, name)
        def numpy(original: Callable, self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            if on_gpu(self) and not kwargs.get("force"):
                raise TypeError(ARRAY)
            return original(self, *args, **kwargs)

    @_wrap(tensor, "__deepcopy__")
    def deepcopy(original: Callable, self: torch.Tensor, memo: Any) -> torch.Tensor:
        return put(original(self, memo), on_gpu(self))

    tensor.pin_memory = lambda self, *_: self


def _answer_for_torch() -> None:
    """Make, load and serve tensors, and say what a machine with a GPU says."""

    for name in ("tensor", "as_tensor", "asarray"):

        @_wrap(torch, name)
        def build(
            original: Callable, *args: Any, device: Any = None, **kwargs: Any
        ) -> torch.Tensor:
            built = original(*args, **kwargs)
            if device is None:
                return built
            needs_gradient = built.requires_grad
            return built.detach().to(device).requires_grad_(needs_gradient)

    @_wrap(torch.nn.functional, "one_hot")
    def one_hot(original: Callable, classes: torch.Tensor, *args: Any, **kw: Any) -> torch.Tensor:
        # inside of it C++ makes a tensor "where the classes are", and knows nothing of labels
        return put(original(_move(classes, False), *args, **kw), on_gpu(classes))

    @_wrap(torch, "load")
    def load(original: Callable, *args: Any, map_location: Any = None, **kwargs: Any) -> Any:
        found = original(*args, map_location=CPU, **kwargs)
        if _is_gpu(map_location):
            for part in found.values() if isinstance(found, dict) else [found]:
                if isinstance(part, torch.Tensor):
                    put(part)
        return found

    @_wrap(torch.utils.data.DataLoader, "__init__")
    def loader(original: Callable, *args: Any, pin_memory: bool = False, **kwargs: Any) -> None:
        original(*args, **kwargs)  # locked pages are the driver's business

    # each operation is looked at, which takes most of the time: a CPU second lasts longer here
    process_time = time.process_time
    time.process_time = lambda: process_time() / 8

    cuda = torch.cuda
    cuda.is_available = lambda: True
    cuda.device_count = lambda: 1
    cuda.current_device = lambda: 0
    cuda.get_device_name = lambda *_: "a pretended GPU"
    cuda.synchronize = lambda *_: None
    cuda._lazy_init = lambda: None
    cuda.is_current_stream_capturing = lambda: False
    # what optimizers ask of the driver has a name that changes between versions
    for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
        if hasattr(torch.optim.Optimizer, name):
            setattr(torch.optim.Optimizer, name, lambda self: None)
    torch.backends.cudnn.enabled = False


if os.environ.get("COURSE_PRETEND_GPU") == "1":
    _mode = PretendedGPU()
    _leave_pytorch_alone(_mode)
    _answer_for_tensors(_mode)
    _answer_for_torch()
    _mode.__enter__()
