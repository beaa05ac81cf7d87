"""The pretended GPU refuses what a real one refuses, and lets pass what a real one lets pass."""

import json
import os
import subprocess
import sys

import pytest
from test_run import write_chapter

from conftest import PRETEND_GPU

START = """
import copy, io, json, sys, torch
import numpy as np
from torch import nn
from torch.nn import functional as F
gpu = torch.device("cuda")

def net():
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))

def trained(model, x, **how):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, **how)
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return loss

def stored(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    return file

def gradient_of(start):
    start.to(gpu).sum().backward()
    return start.grad
"""

MISTAKES = {
    "x + torch.ones(8, 3)": "RuntimeError: Expected all tensors to be on the same device",
    "x @ torch.ones(3, 2)": "RuntimeError: Expected all tensors to be on the same device",
    "x.add_(torch.ones(8, 3))": "RuntimeError: Expected all tensors to be on the same device",
    "torch.cat([x, torch.ones(1, 3)])": "RuntimeError: Expected all tensors to be on the same",
    "x.sum() + torch.ones(3)": "RuntimeError: Expected all tensors to be on the same device",
    "net().to(gpu)(torch.ones(8, 3))": "RuntimeError: Expected all tensors to be on the same",
    "net()(x)": "RuntimeError: Expected all tensors to be on the same device",
    "F.mse_loss(net().to(gpu)(x), torch.ones(8, 1))": "RuntimeError: Expected all tensors",
    "torch.eye(3).to_sparse() @ x.T": "RuntimeError: Expected all tensors to be on the same",
    "torch.ones(3)[torch.tensor([0], device=gpu)]": "RuntimeError: indices should be either on",
    "x.index_select(0, torch.tensor([0]))": "RuntimeError: Expected all tensors to be on the",
    "x.numpy()": "TypeError: can't convert cuda:0 device type tensor to numpy",
    "np.asarray(x)": "TypeError: can't convert cuda:0 device type tensor to numpy",
    "x.detach().T.numpy()": "TypeError: can't convert cuda:0 device type tensor to numpy",
    "torch.randn(3, device=gpu, generator=torch.Generator())": "RuntimeError: Expected a 'cuda'",
    "torch.testing.assert_close(x, x.cpu())": "AssertionError: The values for attribute 'device'",
}
FINE = {
    "x + 1": "cuda",
    "x + torch.tensor(1.0)": "cuda",
    "x[torch.tensor([0, 1])]": "cuda",
    "x.T[1]": "cuda",
    "x.to(torch.float64)": "cuda",
    "x.cpu()": "cpu",
    "x.cpu().to(x)": "cuda",
    "torch.from_numpy(np.ones(3)).cuda()": "cuda",
    "torch.tensor(x.tolist())": "cpu",
    "torch.tensor([1.0], device=gpu)": "cuda",
    "torch.zeros_like(x)": "cuda",
    "x.new_ones(2)": "cuda",
    "torch.arange(3, device=x.device)": "cuda",
    "torch.arange(3)": "cpu",
    "F.one_hot(torch.tensor([1], device=gpu), 3)": "cuda",
    "F.one_hot(torch.tensor([1]), 3)": "cpu",
    "trained(net().to(gpu), x)": "cuda",
    "trained(net(), x.cpu())": "cpu",
    "trained(net().to(gpu), x, fused=True)": "cuda",
    "trained(net().to(gpu), x, foreach=True)": "cuda",
    "next(copy.deepcopy(net().to(gpu)).buffers())": "cuda",
    "torch.load(stored(net().to(gpu)), map_location=gpu)['0.weight']": "cuda",
    "torch.load(stored(net().to(gpu)), map_location='cpu')['0.weight']": "cpu",
    "gradient_of(torch.ones(3, requires_grad=True))": "cpu",
    "torch.autograd.grad((x.requires_grad_() ** 2).sum(), x)[0]": "cuda",
    "nn.LSTM(3, 5).to(gpu)(x[None])[0]": "cuda",
    "nn.GRU(3, 5, batch_first=True)(x[None].cpu())[0]": "cpu",
    "nn.Conv2d(1, 2, 3).to(gpu)(torch.ones(2, 1, 8, 8, device=gpu))": "cuda",
    "torch.eye(3).to_sparse().to(gpu) @ x.T": "cuda",
    "torch.func.vmap(lambda row: (row * row.new_ones(3)).sum())(x)": "cuda",
    "nn.Conv2d(1, 2, 3).to(gpu).to(memory_format=torch.channels_last).weight": "cuda",
    "torch.empty(3, device='meta')": "meta",
    "torch.empty(3, device='meta').to(torch.float64)": "meta",
    "[torch.ones(5, device=gpu) for _ in range(99)] and torch.ones(5)": "cpu",
}


@pytest.fixture(scope="module")
def answers():
    """What becomes of every expression, all in one process."""
    program = f"""{START}
answers = {{}}
for expression in json.load(sys.stdin):
    x = torch.randn(8, 3, device=gpu)
    try:
        answers[expression] = eval(expression).device.type
    except Exception as error:
        answers[expression] = f"{{type(error).__name__}}: {{error}}"
print(json.dumps(answers))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([*MISTAKES, *FINE]),
        env={**os.environ, **PRETEND_GPU},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("expression", MISTAKES)
def test_a_mistake_is_refused(answers, expression):
    assert answers[expression].startswith(MISTAKES[expression])


@pytest.mark.parametrize("expression", FINE)
def test_what_is_right_passes_and_is_where_it_should_be(answers, expression):
    assert answers[expression] == FINE[expression]


def test_it_reaches_the_kernels_of_a_run(tmp_path):
    """And a chapter with a mistake fails, which would pass on the CPU."""
    write_chapter(tmp_path, "01_one", "import torch\ntorch.ones(2, device=DEVICE) + torch.ones(2)")
    command = [sys.executable, "-m", "utils.run", "--notebooks", str(tmp_path), "--device", "cuda"]
    done = subprocess.run(
        [*command, "--build", str(tmp_path / "build")],
        env={**os.environ, **PRETEND_GPU},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Expected all tensors to be on the same device" in done.stdout
