"""What is done after memory ran out, and how much there is."""

import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch

from render.network import device
from render.network.memory import Budget


class _RunsOut(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("DefaultCPUAllocator: not enough memory")


class _Holds(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, held):
        ctx.held = held
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def test_a_gradient_that_ran_out_of_memory_lets_go_of_what_it_did_not_reach():
    device.prepare(device.choose("cpu", "float32", threads=torch.get_num_threads(), memory_bytes=2**33))
    held = torch.zeros(10)
    gone = weakref.ref(held)

    def fail(held):
        x = torch.zeros(1, requires_grad=True)
        with pytest.raises(RuntimeError, match="not enough memory"):
            torch.autograd.grad([_Holds.apply(x, held), _RunsOut.apply(x)], x, [torch.ones(1)] * 2)

    fail(held)
    del held
    device.forget_freed_memory("cpu")
    assert gone() is None


def test_after_running_out_a_budget_is_part_of_the_old_one_and_no_more_than_there_is():
    small = device.Device("cpu", "float32", 1, Budget(2**28))
    assert device.with_less_memory(small, 0.5).budget == Budget(2**27)
    promised = replace(small, budget=Budget(2**50))
    assert 2**27 < device.with_less_memory(promised, 0.5).budget.device_bytes <= device.memory_bytes("cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits a process's memory as Linux does")
def test_free_memory_heeds_ulimit():
    code = (
        "import resource, psutil; from render.network.device import free_memory_bytes as free;"
        "now = psutil.Process().memory_info().vms;"
        "resource.setrlimit(resource.RLIMIT_AS, (now + 2**28,) * 2); print(free('cpu'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 0 < int(done.stdout) <= 2**28
