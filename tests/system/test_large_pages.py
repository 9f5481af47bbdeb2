"""Large pages are asked for when the program starts, once, and only where that says something."""

import os
import sys

import pytest

from helpers.program import run
from render.system import large_pages


@pytest.fixture
def begun(monkeypatch, tmp_path):
    """begun(kernel, tunables): how the program would be started again, or None."""

    def begun(kernel: str | None, tunables: str | None = None):
        monkeypatch.setattr(large_pages, "KERNEL", tmp_path / "enabled")
        if kernel is not None:
            (tmp_path / "enabled").write_text(kernel)
        monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "render", "batch", "a b"])
        monkeypatch.setenv("GLIBC_TUNABLES", tunables or "")  # put back afterwards, whatever is set
        calls = []
        monkeypatch.setattr(os, "execv", lambda *words: calls.append((*words, os.environ["GLIBC_TUNABLES"])))
        large_pages.restart_with_them()
        return calls[0] if calls else None

    return begun


def test_the_same_words_begin_again_where_the_kernel_gives_them_on_request(begun):
    words = [sys.executable, "-X", "dev", "-m", "render", "batch", "a b"]
    assert begun("always [madvise] never\n") == (sys.executable, words, "glibc.malloc.hugetlb=1")
    given = "glibc.malloc.arena_max=2"
    assert begun("always [madvise] never\n", given)[2] == f"{given}:glibc.malloc.hugetlb=1"


@pytest.mark.parametrize(
    "kernel, tunables",
    [
        ("[always] madvise never", None),
        ("always madvise [never]", None),
        (None, None),
        ("always [madvise] never", "glibc.malloc.hugetlb=0"),
        ("always [madvise] never", "glibc.malloc.hugetlb=1"),
    ],
)
def test_nothing_begins_again_where_it_says_nothing_or_was_said(begun, kernel, tunables):
    assert begun(kernel, tunables) is None


@pytest.mark.network
def test_the_program_has_them_and_leaves_them_to_who_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    told = "large pages requested" if large_pages.on_request() else large_pages.status()
    assert f"pages      {told}\n" in run("doctor", cwd=tmp_path).out
    if large_pages.on_request():
        monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
        assert "no large pages requested\n" in run("doctor", cwd=tmp_path).out
