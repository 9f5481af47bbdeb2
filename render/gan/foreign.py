"""Generators made elsewhere: TorchScript files and exported programs, opened without running code of their
authors.

torch's own readers trust their files: torch.export.load unpickles some constants, evaluates size expressions
as Python and calls whatever function of torch a file names; TorchScript may write files. So a file is
searched for all that before it is opened."""

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from render.errors import WeightsError, brief
from render.system import files

MAX_BYTES = 8_000_000_000  # of a file, and of what it unpacks to

# In a size's expression: symbols, numbers, arithmetic.
_EXPRESSION = re.compile(
    r"(?:Symbol|Max|Min|Mod|FloorDiv|positive=True|integer=True|'?\b[su]\d+\b'?|\d+|[-+*/(), ])*"
)
_FUNCTION = re.compile(r"torch\.ops\.aten\.\w+\.\w+|_operator\.\w+")
_HARMFUL_SCRIPT = re.compile(
    r"\b(?:torch\.(?:save|load|from_file|wait|fork)|ops\.(?!aten\.|prim\.)\w+|__torch__\.torch\.classes)\b"
)
_ADVICE = "Opening a pickle runs programs. Save it as TorchScript (torch.jit.save) or with torch.export.save."


def load(path: Path) -> nn.Module:
    """Load a generator. Raises WeightsError for a file of another kind, a damaged one, and one that could do
    more than compute."""
    files.check(path, what="generator", error=WeightsError, at_most_bytes=MAX_BYTES)
    refuse_pickles(path)
    if not is_archive(path):
        raise WeightsError(
            f"{path}: neither TorchScript (torch.jit.save) nor an exported program (torch.export.save). "
            f"For a checkpoint "
            "of `render gan train` leave --latent out."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            _check_unpacked(path, archive)
            if _is_script(archive):
                _check_script(path, archive)
                reader = _script
            else:
                _check_exported(path, archive)
                reader = _exported
        return reader(path)
    except WeightsError:
        raise
    except Exception as error:  # torch raises every kind here
        raise WeightsError(
            f"{path}: cannot be loaded ({type(error).__name__}: {brief(error)}). Export it "
            "again with a "
            f"torch like this one ({torch.__version__})."
        ) from error


def is_archive(path: Path) -> bool:
    return zipfile.is_zipfile(path)


def refuse_pickles(path: Path) -> None:
    """Raises WeightsError for a file that torch.save or pickle wrote."""
    if is_archive(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
                pickled = not _is_script(archive) and any(name.endswith("/data.pkl") for name in names)
        except (
            zipfile.BadZipFile,
            OSError,
            ValueError,
            NotImplementedError,
        ) as error:  # only its end is a zip file's
            raise WeightsError(
                f"{path}: damaged ({brief(error)}). Copy it again, or export it again."
            ) from error
        if pickled:
            raise WeightsError(f"{path}: a pickle (torch.save). {_ADVICE}")
        return
    with files.opened(path, what="checkpoint", error=WeightsError) as file:
        head = file.read(9)
    if head[:1] == b"\x80" and head[1:2] <= b"\x06" and not _begins_safetensors(head):
        raise WeightsError(f"{path}: a pickle. {_ADVICE}")


def _begins_safetensors(head: bytes) -> bool:
    """The header's length in eight bytes, the last four of them 0, and the header, which is JSON; '{' is no
    code of a pickle."""
    return head[4:8] == bytes(4) and head[8:] == b"{"


def _check_unpacked(path: Path, archive: zipfile.ZipFile) -> None:
    size_bytes = sum(entry.file_size for entry in archive.infolist())
    if size_bytes > MAX_BYTES:
        raise WeightsError(
            f"{path}: unpacks to {size_bytes / 1e9:.0f} GB; a generator has at most "
            f"{MAX_BYTES / 1e9:.0f} GB. "
            "Check that it is the file you mean."
        )


def _is_script(archive: zipfile.ZipFile) -> bool:
    return any(re.fullmatch(r"[^/]+/code/.*\.py", name) for name in archive.namelist())


def _script(path: Path) -> nn.Module:
    return torch.jit.load(path, map_location="cpu").eval()


def _exported(path: Path) -> nn.Module:
    with _weights_only():
        return torch.export.load(path).module()


@contextmanager
def _weights_only() -> Iterator[None]:
    """Within this context torch.load unpickles tensors only, whatever its arguments say."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before, os.environ[name] = os.environ.get(name), "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _check_script(path: Path, archive: zipfile.ZipFile) -> None:
    for name in archive.namelist():
        if name.endswith(".py") and (
            found := _HARMFUL_SCRIPT.search(archive.read(name).decode(errors="replace"))
        ):
            raise WeightsError(f"{path}: refused: its script does more than compute ({found[0]}).")


def _check_exported(path: Path, archive: zipfile.ZipFile) -> None:
    names = [name.partition("/")[2] for name in archive.namelist()]
    if not any(re.fullmatch(r"models/[^/]+\.json", name) for name in names):
        raise WeightsError(
            f"{path}: neither TorchScript nor an exported program of a torch like this one "
            f"({torch.__version__})."
        )
    for name in names:
        if re.match(r"data/(weights|constants)/", name) and not re.search(
            r"/(weight_\d+|tensor_\d+|[^/]+_config\.json)$", name
        ):
            raise WeightsError(f"{path}: refused: {name} would be unpickled. {_ADVICE}")
    for name in archive.namelist():
        if name.endswith(".json"):
            for key, value in _entries(json.loads(archive.read(name))):
                if _is_harmful(key, value):
                    raise WeightsError(
                        f"{path}: refused: it does more than compute ({key}: {str(value)[:80]})."
                    )


def _entries(value) -> Iterator[tuple[str, object]]:
    """Every key of a JSON value, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from _entries(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner)


def _is_harmful(key: str, value) -> bool:
    if key == "use_pickle":
        return value is not False
    if key == "guards_code":
        return bool(value)
    if key == "expr_str":
        return _EXPRESSION.fullmatch(value) is None
    if key == "path_name":
        return re.fullmatch(r"(weight|tensor)_\d+", value) is None
    return key == "target" and isinstance(value, str) and _FUNCTION.fullmatch(value) is None
