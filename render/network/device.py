"""Which device to use, in which precision, with how many threads and how much memory.

The only module that names CUDA.
"""

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
FREE_SHARE = (
    0.8  # share of the free memory that plans may use; the rest is for other programs and file caches
)
REUSED_BYTES = 64 * 2**20  # glibc keeps blocks up to this size for reuse, see _keep_freed_memory
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Device:
    """Where and how the network runs."""

    name: str  # "cpu" or "cuda"
    precision: str  # of the network's features, a key of PRECISIONS
    threads: int  # of this process, on a CPU
    budget: Budget = Budget(4 * 2**30)  # memory it may use; on a CPU that of the whole process

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
    """The device to use.

    memory_bytes: its budget; None: FREE_SHARE of what is free now. threads: None: one per core.
    Raises UsageError if the requested device does not exist.
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
    # What this process uses already is no longer free, but counts towards its budget.
    own = psutil.Process().memory_info().rss if device == "cpu" else 0
    found = own + int(free_share * free_memory_bytes(device)) if memory_bytes is None else memory_bytes
    return Budget(found, None if device == "cpu" else int(free_share * free_memory_bytes("cpu")))


def with_less_memory(device: Device, share: float) -> Device:
    """The device after it ran out of memory: with a share of its budget, and no more than is free now."""
    part, found = device.budget.part(share), _budget(device.name, None, free_share=1.0)
    host = part.host_bytes
    if host is not None and found.host_bytes is not None:
        host = min(host, found.host_bytes)
    return replace(device, budget=Budget(min(part.device_bytes, found.device_bytes), host))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out. torch reports that in several ways; oneDNN's is that it
    "could not create a primitive"."""
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
    """Free what a computation that ran out of memory has left behind."""
    _gradient_of_something_old()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def has_fast_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 natively. Emulated, it is slower than float32."""
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
    """Numbers of the cores that this process may use (its affinity mask, which containers set)."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def free_memory_bytes(device: str) -> int:
    """Memory that is free now: of the GPU, or of the machine within the limits of this process (cgroup,
    `ulimit -v`)."""
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
    """Name and memory of each GPU, as phrases for people."""
    result = []
    for i in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(i)
        result.append(f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    return result


def prepare(device: Device) -> None:
    """Set up this process: its threads, and the same algorithms, hence the same pixels, in every run."""
    torch.set_num_threads(device.threads)
    _keep_freed_memory()
    _gradient_of_something_old()
    if device.name == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        # Features may be bfloat16, but float32 must not be computed in fewer bits.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False


def _gradient_of_something_old() -> None:
    """Empty autograd's queue of pending gradients, by computing the gradient of a very old graph.

    When memory runs out during back-propagation, the functions that were not reached stay in this thread's
    queue, with all their activations (seen in torch 2.13). The queue runs the functions of newer graphs
    first, so only the gradient of an older graph makes it go through the rest. The first call also makes
    torch import modules that it imports lazily, which must not happen when memory is short.
    """
    if not hasattr(_thread, "old"):
        x = torch.zeros(1, requires_grad=True)
        _thread.old = x, x * 1
    x, y = _thread.old
    torch.autograd.grad([y], x, [torch.zeros(1)], retain_graph=True)


_thread = threading.local()


def synchronise(device: str) -> None:
    """Wait until a GPU has finished what it was given. Nothing to do on a CPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def memory_bytes(device: str) -> int:
    """Total memory of the device, free or not, within the limits of this process."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    limit = _cgroup_number("memory.max")
    return min(psutil.virtual_memory().total, limit or sys.maxsize)


def _keep_freed_memory() -> None:
    """Make glibc reuse freed blocks of up to REUSED_BYTES instead of returning them to the system.

    Every iteration needs blocks of the same sizes, and fresh pages cost more time than the arithmetic on
    them. Larger blocks are returned: kept, they made the process half as large again as the memory that it
    uses (measured, BENCHMARKS.md). The thresholds hold only for glibc's main arena, so threads that start
    later are made to use that one.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc
        return
    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # glibc, malloc.h: M_TRIM_THRESHOLD and so on
    mallopt(arena_max, 1)
    mallopt(mmap_threshold, REUSED_BYTES)
    mallopt(trim_threshold, 2 * REUSED_BYTES)
