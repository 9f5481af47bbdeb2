"""What libtiff and libpng write to standard error, on really damaged files: with the file's name, or not at
all."""

import logging
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from helpers.pictures import save_painting, save_photo
from helpers.program import CHEAP_BATCH, PROGRAM
from render.errors import PictureError
from render.pictures import decoder_warnings, images

VALUES = np.arange(48 * 64 * 3, dtype=np.uint16).reshape(48, 64, 3) * 7


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def save_overfull_png(path: Path) -> Path:
    """16 bits per channel, and more data than its size needs: Pillow says nothing, libpng warns."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in VALUES) + bytes(50)
    header = chunk(b"IHDR", struct.pack(">2I5B", 64, 48, 16, 2, 0, 0, 0))
    data = header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def save_broken_tiff(path: Path) -> Path:
    """16 bits per channel, deflated, and damaged inside: libtiff complains, and Pillow fails."""
    tifffile.imwrite(path, VALUES, photometric="rgb", compression="adobe_deflate", rowsperstrip=16)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(byte ^ 0xFF for byte in data[middle : middle + 8])
    path.write_bytes(data)
    return path


@pytest.fixture(autouse=True)
def nothing_warned_of_yet():
    decoder_warnings.warn_once.cache_clear()


def test_what_libpng_says_is_reported_once_with_the_files_name(tmp_path, caplog, capfd):
    path = save_overfull_png(tmp_path / "a.png")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            np.testing.assert_allclose(images.read(path).pixels, VALUES / 65535, atol=1e-6)
    [record] = caplog.records
    assert re.search(r"a\.png: libpng warning: .*Too much image data\. The picture is used", record.message)
    assert capfd.readouterr().err == ""


def test_what_libtiff_says_is_dropped_where_the_error_says_it(tmp_path, caplog, capfd):
    path = save_broken_tiff(tmp_path / "a.tif")
    with caplog.at_level(logging.WARNING), pytest.raises(PictureError, match=r"a\.tif: cannot be read"):
        images.read(path)
    assert not caplog.records and capfd.readouterr().err == ""
    os.write(2, b"still here\n")
    assert capfd.readouterr().err == "still here\n"


def test_without_the_capture_these_files_would_be_complained_of_without_a_name(tmp_path, capfd):
    path = save_broken_tiff(tmp_path / "a.tif")
    with pytest.raises(OSError), images.Image.open(path) as image:
        image.load()
    assert "ZIPDecode" in capfd.readouterr().err


def test_many_lines_become_a_few(tmp_path, caplog, capfd):
    with caplog.at_level(logging.WARNING), decoder_warnings.named(tmp_path / "a.tif"):
        with decoder_warnings.libraries_named():
            os.write(2, "".join(f"line {i}\n\n" for i in range(100)).encode())
    said = [record.message.partition("a.tif: ")[2].partition(".")[0] for record in caplog.records]
    assert said == [*(f"line {i}" for i in range(5)), "and more of the same kind"]
    assert capfd.readouterr().err == ""


def test_the_program_writes_no_line_without_the_files_name(tmp_path):
    save_photo(tmp_path / "photos" / "good.png")
    save_overfull_png(tmp_path / "photos" / "overfull.png")
    save_broken_tiff(tmp_path / "photos" / "broken.tif")
    save_painting(tmp_path / "x.png")
    command = [*PROGRAM, *CHEAP_BATCH, "--size", "32"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "2 done, 1 failed" in done.stderr
    said = [line for line in done.stderr.splitlines() if re.search("libpng|Decod|decod", line)]
    assert [line for line in said if "overfull.png: libpng warning" in line]
    assert all("overfull.png" in line or "broken.tif" in line for line in said), done.stderr


def python(code: str, **how) -> subprocess.CompletedProcess:
    """The code in a process whose standard error is a pipe; `named(path)` is there."""
    head = (
        "import os, sys, threading\nfrom pathlib import Path\nfrom render.pictures import decoder_warnings\n"
    )
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, timeout=120, **how)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_meanwhile_other_threads_write_where_they_did_and_so_does_a_traceback(unbuffered):
    done = python(
        """
def others():
    for i in range(2000):
        print(f"line {i}", file=sys.stderr)
    raise KeyError("in a thread")
with decoder_warnings.named(Path("a.tif")):
    for _ in range(20):
        with decoder_warnings.libraries_named():
            if not _:
                thread = threading.Thread(target=others)
                thread.start()
            os.write(2, b"said by a library\\n")
    with decoder_warnings.libraries_named():
        thread.join()
os.write(2, b"end\\n")
""",
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    lines = done.stderr.decode().splitlines()
    assert [line for line in lines if line.startswith("line ")] == [f"line {i}" for i in range(2000)]
    assert "KeyError: 'in a thread'" in lines and lines[-1] == "end"
    said = [line for line in lines if "said by a library" in line]
    assert len(said) == 1 and said[0].startswith("a.tif: ")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_meanwhile_has_its_own_standard_error_and_hangs_on_no_lock():
    done = python(
        """
with decoder_warnings.libraries_named():
    child = os.fork()
    if child == 0:
        os.write(2, b"child\\n")
        with decoder_warnings.libraries_named():
            pass
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    os.write(2, b"captured\\n")
os.write(2, b"parent\\n")
"""
    )
    assert (done.returncode, done.stderr) == (0, b"child\ncaptured\nparent\n")


def test_without_standard_error_pictures_are_read_all_the_same():
    done = python("os.close(2)\nwith decoder_warnings.libraries_named():\n    print('read')")
    assert (done.returncode, done.stdout.split()) == (0, [b"read"])
