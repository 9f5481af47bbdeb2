"""Memory in pages of 2 MB. Activations are allocated and freed by the gigabyte, and mapping them in pages of
4 KB takes a tenth of the time."""

import os
import sys
from pathlib import Path

SETTING = "glibc.malloc.hugetlb"  # glibc 2.35 and later
KERNEL = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def restart_with_them() -> None:
    """Replace this process by the same program with the same arguments and large pages requested from glibc.

    glibc reads that setting only when a program starts; processes that this one starts inherit it. Does
    nothing if the setting has a value already (0, which is off, included), or if the kernel gives large pages
    to every program or to none.
    """
    given = os.environ.get("GLIBC_TUNABLES", "")
    if not on_request() or SETTING in given or not sys.executable or not sys.orig_argv[1:]:
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (given, f"{SETTING}=1")))
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError:  # the program works without large pages too
        pass


def on_request() -> bool:
    """Whether the kernel gives large pages to programs that request them (Linux: "madvise")."""
    return "[madvise]" in _kernel()


def status() -> str:
    """Whether this process has large pages, as a phrase for people."""
    if on_request():
        requested = f"{SETTING}=1" in os.environ.get("GLIBC_TUNABLES", "")
        return "large pages requested" if requested else "no large pages requested"
    if "[always]" in _kernel():
        return "large pages for every program"
    return f"no large pages ({KERNEL} is not set to madvise)"


def _kernel() -> str:
    try:
        return KERNEL.read_text(encoding="ascii")
    except OSError:  # not Linux
        return ""
