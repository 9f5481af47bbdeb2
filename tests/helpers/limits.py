"""Limits that the operating system sets."""

import resource
from contextlib import contextmanager


@contextmanager
def small_disk():
    """No file may grow past 1000 bytes: the kernel then fails writes as a full disk or quota does. A context
    and not a fixture: pytest's own output may be a file, and must not be written meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
