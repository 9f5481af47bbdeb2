"""What a GAN learns from: IDX files, downloads, folders of pictures."""

import gzip
import hashlib
import http.server
import struct
import threading
import tracemalloc

import numpy as np
import pytest
import torch

from helpers.gan import digits, idx
from helpers.pictures import save, save_photo, special
from render.errors import PictureError, UsageError
from render.gan import data
from render.network.torchvision_guard import import_torchvision

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    "name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "train-images.idx3-ubyte"]
)
def test_idx_files_are_read_gzipped_or_not(tmp_path, name):
    wanted = digits()
    (tmp_path / name).write_bytes(gzip.compress(idx(wanted)) if name.endswith(".gz") else idx(wanted))
    found = data.load(str(tmp_path), GREY, crop=None, cache=tmp_path)
    assert np.array_equal(found.images[:, 0].numpy(), wanted)
    batch = found.batch(torch.tensor([3]), signed=True)
    assert batch.dtype == torch.float32 and np.allclose(batch[0, 0].numpy(), wanted[3] / 127.5 - 1, atol=1e-6)
    assert np.allclose(found.batch(torch.tensor([3]), signed=False)[0, 0].numpy(), wanted[3] / 255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d[:-10], r"cut short: 39190 bytes for 50 x 28 x 28"),
        (lambda d: d[:9], "cut short after 9 bytes, within its head"),
        (lambda d: d + b"x", "too long"),
        (lambda d: b"\0\0\x0d\x03" + d[4:], "not an IDX file of bytes in 3 dimensions"),
        (lambda d: b"", "is empty"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, change, message):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(change(idx(digits())))
    with pytest.raises(PictureError, match=message) as error:
        data.load(str(tmp_path), GREY, crop=None, cache=tmp_path)
    assert "train-images-idx3-ubyte" in str(error.value)


def test_a_gzip_file_that_was_cut_short_is_named(tmp_path):
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(digits()))[:-100])
    with pytest.raises(PictureError, match="cannot be read"):
        data.load(str(tmp_path), GREY, crop=None, cache=tmp_path)


def test_fashion_mnist_is_downloaded_once_and_damage_is_refused(tmp_path, monkeypatch):
    files = {
        f"{part}-{kind}": gzip.compress(idx(array))
        for part, count in (("train", 60), ("t10k", 10))
        for kind, array in (
            ("images-idx3-ubyte.gz", digits(count)),
            ("labels-idx1-ubyte.gz", np.zeros(count, np.uint8)),
        )
    }
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(files[self.path.removeprefix("/")])

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    known = import_torchvision().datasets.FashionMNIST
    monkeypatch.setattr(known, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
    monkeypatch.setattr(
        known, "resources", [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    )
    found = data.load("fashion-mnist", GREY, crop=None, cache=tmp_path / "cache")
    assert np.array_equal(found.images[:, 0].numpy(), digits(60)) and asked
    asked.clear()
    assert (
        torch.equal(
            data.load("fashion-mnist", GREY, crop=None, cache=tmp_path / "cache").images, found.images
        )
        and not asked
    )
    monkeypatch.setattr(known, "resources", [(name, "0" * 32) for name in files])
    with pytest.raises(UsageError, match="--data fashion-mnist: cannot be downloaded"):
        data.load("fashion-mnist", GREY, crop=None, cache=tmp_path / "other")
    server.shutdown()


def test_a_folder_of_squares_is_taken_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    save(tmp_path / "a.png", pixels)
    save(tmp_path / "sub/b.png", pixels[::-1].copy())
    found = data.load(str(tmp_path), COLOUR, crop=None, cache=tmp_path)
    assert np.array_equal(found.images[0].permute(1, 2, 0).numpy(), pixels) and len(found) == 2


@pytest.mark.parametrize("sizes", [((32, 32), (32, 48)), ((32, 48), (32, 48))])
def test_pictures_of_unlike_sizes_are_refused_with_the_option_that_helps(tmp_path, sizes):
    for name, size in zip("ab", sizes):
        save_photo(tmp_path / f"{name}.png", size=size)
    with pytest.raises(UsageError, match=r"[ab]\.png: .*squares of one size. Add --crop centre"):
        data.load(str(tmp_path), COLOUR, crop=None, cache=tmp_path)
    assert len(data.load(str(tmp_path), COLOUR, crop="centre", cache=tmp_path)) == 2
    assert len(data.load(str(tmp_path), COLOUR, crop="tiles", cache=tmp_path)) > 40


def test_tiles_cover_a_picture_and_the_middle_is_the_middle():
    y, x = np.mgrid[:96, :160].astype(np.float32)
    picture = np.stack([y, x, 0 * x], -1) / 255
    tiles = data.cut(picture, 32, "tiles")
    seen = {tuple(v) for tile in tiles for v in np.rint(255 * tile.reshape(-1, 3)).astype(int).tolist()}
    assert len(seen) == 96 * 160 and all(tile.shape == (32, 32, 3) for tile in tiles)
    (middle,) = data.cut(picture, 96, "centre")
    assert np.rint(255 * middle[0, 0]).tolist() == [0, 32, 0] and middle.shape == (96, 96, 3)


def test_what_does_not_fit_the_architecture_is_refused(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(digits()))
    with pytest.raises(UsageError, match="images of 1x28x28 .* makes 3x32x32"):
        data.load(str(tmp_path), COLOUR, crop=None, cache=tmp_path)
    save_photo(tmp_path / "p/a.png")
    with pytest.raises(UsageError, match="Use --architecture compact"):
        data.load(str(tmp_path / "p"), GREY, crop="centre", cache=tmp_path)
    with pytest.raises(UsageError, match="--data gone: no such folder, and not one of mnist, fashion-mnist"):
        data.load("gone", GREY, crop=None, cache=tmp_path)


# --- made to harm -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"])
@pytest.mark.parametrize(
    ("head", "rest", "message"),
    [
        ((0, 28, 28), b"", "holds nothing"),
        ((5, 0, 28), b"", "holds nothing"),
        ((2**32 - 1, 2**32 - 1, 2**32 - 1), b"", "is too large"),
        ((1, 28, 28), bytes(10**8), "too long"),
        ((2_000_000, 28, 28), bytes(1000), "cut short: 1000 bytes"),
    ],
)
def test_an_idx_file_of_nothing_or_of_too_much_is_refused_within_bounds(tmp_path, name, head, rest, message):
    content = bytes((0, 0, 8, 3)) + struct.pack(">3I", *head) + rest
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    tracemalloc.start()
    with pytest.raises(PictureError, match=rf"{name}: .*{message}"):
        data.load(str(tmp_path), GREY, crop=None, cache=tmp_path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 60e6


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"])
def test_an_idx_file_that_is_a_pipe_or_a_device_is_refused(tmp_path, kind, name):
    special(tmp_path / name, kind)
    with pytest.raises(PictureError, match=f"{name}: is not a regular file"):
        data.load(str(tmp_path), GREY, crop=None, cache=tmp_path)


def test_squares_that_do_not_fit_into_memory_are_refused_before_they_are_cut(tmp_path):
    save(tmp_path / "ribbon.png", np.zeros((16, 60_000, 3), np.uint8))
    with pytest.raises(
        UsageError, match=r"needs \d+\.\d GB for \d+ squares of 256 px.*ribbon\.png, becomes 2880000 x 768 px"
    ):
        data.load(str(tmp_path), (3, 256, 256), crop="tiles", cache=tmp_path)
    assert len(data.load(str(tmp_path), COLOUR, crop="centre", cache=tmp_path)) == 1


def test_the_squares_that_are_counted_beforehand_are_those_that_are_cut():
    for size in ((16, 16), (48, 64), (100, 33), (20, 400)):
        for crop in data.CROPS:
            scaled = data._scaled(size, 32, crop)
            counted = len(data._starts(scaled[0], 32, crop)) * len(data._starts(scaled[1], 32, crop))
            assert len(data.cut(np.zeros((*size, 3), np.float32), 32, crop)) == counted


def test_a_source_of_a_name_that_no_disk_can_have_is_missing(tmp_path):
    with pytest.raises(UsageError, match="--data xxx.*: no such folder"):
        data.load("x" * 5_000, GREY, crop=None, cache=tmp_path)
