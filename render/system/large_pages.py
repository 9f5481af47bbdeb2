"""Memory in pages of 2 MB: activations come and go by the gigabyte, and a page of 4 KB at a time costs a
tenth of the time."""

import os
import sys
from pathlib import Path

SETTING = "glibc.malloc.hugetlb"
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def begin_again_with_them() -> None:
    """Starts this program once more, as the same process and with the same words, asking the C library for
    large pages: glibc (2.35 and later) reads that only at the start, and what this process starts has it from
    here. Does nothing where it was asked before, off (=0) included, or where the kernel gives all large pages
    or none."""
    given = os.environ.get("GLIBC_TUNABLES", "")
    if not on_request() or SETTING in given or not sys.executable or not sys.orig_argv[1:]:
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (given, f"{SETTING}=1")))
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:  # it works without
        pass


def on_request() -> bool:
    """Whether the kernel gives large pages to who asks: Linux's "madvise"."""
    return "[madvise]" in _kernel()


def said() -> str:
    """For people: whether this process has them."""
    if on_request():
        return (
            "large pages asked for"
            if f"{SETTING}=1" in os.environ.get("GLIBC_TUNABLES", "")
            else "no large pages asked for"
        )
    return (
        "large pages for all"
        if "[always]" in _kernel()
        else f"no large pages ({KERNEL} does not say madvise)"
    )


def _kernel() -> str:
    try:
        return KERNEL.read_text(encoding="ascii")
    except OSError:  # not Linux
        return ""
