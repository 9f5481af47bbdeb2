"""Which processor to use, in which precision, with how many threads. The only file that says "cuda"."""

import ctypes
import gc
import os
import sys
import threading
from dataclasses import dataclass, replace

import psutil
import torch

from render.errors import UsageError
from render.network.memory import Budget

GPU = "cuda"
FREE_SHARE = 0.8  # of the free memory that plans may use: other programs, and pages of files, want some
REUSED_BYTES = 64 * 2**20
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Device:
    """name: "cpu" or "cuda"; precision: of the network's features; threads: of this process (CPU); budget:
    memory it may use, on a CPU that of the whole process."""

    name: str
    precision: str
    threads: int
    budget: Budget = Budget(4 * 2**30)

    @property
    def dtype(self) -> torch.dtype:
        return PRECISIONS[self.precision]


def choose(
    device: str = "auto",
    precision: str = "auto",
    *,
    threads: int | None = None,
    memory_bytes: int | None = None,
) -> Device:
    """The device to use. memory_bytes: its budget; None: what is free now, less a margin.

    Raises UsageError when the one asked for is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "--device cuda: no CUDA device is usable (torch.cuda.is_available() is False). "
            "Run `render doctor`, install a CUDA build of torch, or use --device cpu."
        )
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(device) else "float32"
    return Device(device, precision, threads or cores(), _budget(device, memory_bytes))


def _budget(device: str, memory_bytes: int | None, *, free_share: float = FREE_SHARE) -> Budget:
    own = (
        psutil.Process().memory_info().rss if device == "cpu" else 0
    )  # counted by the budget, no longer free
    found = own + int(free_share * free_memory_bytes(device)) if memory_bytes is None else memory_bytes
    return Budget(found, None if device == "cpu" else int(free_share * free_memory_bytes("cpu")))


def with_less_memory(device: Device, share: float) -> Device:
    """After running out: part of the budget, and no more than can be had now, whatever was promised."""
    part, found = device.budget.part(share), _budget(device.name, None, free_share=1.0)
    host = None if part.host_bytes is None else min(part.host_bytes, found.host_bytes)
    return replace(device, budget=Budget(min(part.device_bytes, found.device_bytes), host))


def is_out_of_memory(error: BaseException) -> bool:
    """torch tells of it in several ways; where oneDNN finds too little, it "could not create a primitive"."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    signs = (
        "not enough memory",
        "can't allocate memory",
        "could not create a memory object",
        "could not create a primitive",
        "out of memory",
        "std::bad_alloc",
        "insufficient memory",
    )
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs)


def forget_freed_memory(device: str) -> None:
    """Hands back what is left of a computation that ran out of memory."""
    _gradient_of_something_old()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def has_fast_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 itself; emulation is slower than float32."""
    if device == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
            flags = f.read()
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def cores() -> int:
    """How many cores this process may use."""
    return len(own_cores())


def own_cores() -> tuple[int, ...]:
    """Cores this process may use, by number (the affinity mask, which containers set)."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def free_memory_bytes(device: str) -> int:
    """Memory that can be had now: of the GPU, or of the machine within the process's limits (cgroup, `ulimit
    -v`)."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    free = psutil.virtual_memory().available
    limit, used = _cgroup_number("memory.max"), _cgroup_number("memory.current")
    if limit is not None and used is not None:
        free = min(free, limit - used)
    return max(0, min(free, _address_space_left()))


def _address_space_left() -> int:
    if not hasattr(psutil, "RLIMIT_AS"):  # not Linux
        return sys.maxsize
    process = psutil.Process()
    limit = process.rlimit(psutil.RLIMIT_AS)[0]
    return sys.maxsize if limit == psutil.RLIM_INFINITY else limit - process.memory_info().vms


def _cgroup_number(name: str) -> int | None:
    try:
        with open(f"/sys/fs/cgroup/{name}", encoding="ascii") as f:
            return int(f.read())
    except (OSError, ValueError):  # no cgroup v2, or "max": no limit
        return None


def gpus() -> list[str]:
    """Names and memory of the GPUs, for people to read."""
    result = []
    for i in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(i)
        result.append(f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    return result


def prepare(device: Device) -> None:
    """Settings of this process: threads, and the same algorithm (hence the same pixels) at every run."""
    torch.set_num_threads(device.threads)
    _keep_freed_memory()
    _gradient_of_something_old()
    if device.name == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        # Features may be bfloat16; what is float32 stays float32.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def _gradient_of_something_old() -> None:
    """Empties torch's queue of what gradients are still to be taken of.

    When memory runs out on the way back, what was not reached stays in the queue of this thread, and with it
    all its activations (seen in torch 2.13). Later gradients come first there, and only something older makes
    it look at the rest. The first call also has torch import what it puts off until then: no good moment is
    one when memory is short.
    """
    if not hasattr(_thread, "old"):
        x = torch.zeros(1, requires_grad=True)
        _thread.old = x, x * 1
    x, y = _thread.old
    torch.autograd.grad([y], x, [torch.zeros(1)], retain_graph=True)


_thread = threading.local()


def synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def memory_bytes(device: str) -> int:
    """Memory there is in all, whoever uses it now."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    limit = _cgroup_number("memory.max")
    return min(psutil.virtual_memory().total, limit or sys.maxsize)


def _keep_freed_memory() -> None:
    """Has glibc reuse blocks of up to REUSED_BYTES instead of handing each back to the system: every
    iteration needs the same ones, and fresh pages cost more than the arithmetic on them. Larger ones go back,
    or their leftovers would make the process half as large again as what it uses (measured: BENCHMARKS.md).
    The thresholds hold for the main arena alone, so threads that begin after this use that one as well."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # malloc.h
    mallopt(arena_max, 1)
    mallopt(mmap_threshold, REUSED_BYTES)
    mallopt(trim_threshold, 2 * REUSED_BYTES)
