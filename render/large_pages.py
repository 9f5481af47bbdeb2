"""Memory in pages of 2 MB: activations come and go by the gigabyte, and a page of 4 KB at a time costs a tenth of the time."""

import os
import sys
from pathlib import Path

SETTING = "glibc.malloc.hugetlb"
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def begin_again_with_them() -> None:
    """Starts this program once more, as the same process and with the same words, asking the C library for large pages:
    glibc (2.35 and later) reads that only at the start, and what this process starts has it from here. Does nothing where
    it was asked before, off (=0) included, or where the kernel gives all large pages or none."""
    given = os.environ.get("GLIBC_TUNABLES", "")
    if not on_request() or SETTING in given or not sys.executable or not sys.orig_argv[1:]:
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (given, f"{SETTING}=1")))
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:  # it works without
        pass


def on_request() -> bool:
    """Whether the kernel gives large pages to who asks. It is Linux's "madvise", what most distributions set."""
    try:
        return "[madvise]" in KERNEL.read_text(encoding="ascii")
    except OSError:
        return False


def said() -> str:
    """For people: whether this process has them."""
    try:
        kernel = KERNEL.read_text(encoding="ascii")
    except OSError:
        return "no large pages on this system"
    if "[never]" in kernel:
        return f"no large pages (never in {KERNEL}; madvise saves about a tenth of the time)"
    if "[always]" in kernel:
        return "large pages for all"
    return "large pages asked for" if f"{SETTING}=1" in os.environ.get("GLIBC_TUNABLES", "") else "no large pages asked for"
