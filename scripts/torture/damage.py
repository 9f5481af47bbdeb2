"""Damage behind a format's own checksums and lengths, which random damage seldom passes."""

import gzip
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

Damage = Callable[[bytes, random.Random], bytes]

DEEP: list = []
for _ in range(400):
    DEEP = [DEEP]
ODD = (
    None,
    True,
    -1,
    0,
    3,
    10**30,
    1e308,
    float("nan"),
    "",
    "x",
    "9" * 5000,
    [],
    {},
    [[]],
    {"a": {}},
    [1, 2, 3],
    "\ud800",
    DEEP,
)


def png(data: bytes, draw: random.Random, damage: Damage) -> bytes:
    """A chunk's content damaged, or a text's packed content, with its checksum right again."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        chunks.append((kind, data[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = draw.randrange(len(chunks))
    kind, content = chunks[chosen]
    chunks[chosen] = (
        kind,
        _packed(content, draw, damage) if kind == b"IDAT" and draw.random() < 0.5 else damage(content, draw),
    )
    return data[:8] + b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(c, zlib.crc32(k))) for k, c in chunks
    )


def _packed(content: bytes, draw: random.Random, damage: Damage) -> bytes:
    try:
        return zlib.compress(damage(zlib.decompress(content), draw))
    except zlib.error:  # one of several parts of a stream
        return damage(content, draw)


def gz(data: bytes, draw: random.Random, damage: Damage) -> bytes:
    return gzip.compress(damage(gzip.decompress(data), draw))


def archive(data: bytes, draw: random.Random, damage: Damage) -> bytes:
    """One file of a zip archive; of others, anything."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return damage(data, draw)
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as whole, zipfile.ZipFile(target, "w") as result:
        names = whole.namelist()
        chosen = draw.choice([*names, *[name for name in names if name.endswith(".pkl")] * 20])
        for name in names:
            content = whole.read(name)
            result.writestr(name, damage(content, draw) if name == chosen else content)
    return target.getvalue()


def safetensors(data: bytes, draw: random.Random, damage: Damage) -> bytes:
    """Something odd in the header, or in the JSON that the program keeps in it; its length is right."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    own = header.get("__metadata__", {})
    if "render" in own and draw.random() < 0.8:
        own["render"] = json.dumps(oddly(json.loads(own["render"]), draw))
    else:
        header = oddly(header, draw)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def recipe(data: bytes, draw: random.Random, damage: Damage) -> bytes:
    """Something odd in the JSON that a print keeps; it fills the place of the old one."""
    found = re.search(rb'\{"[^\0]*\}', data)
    if found is None:
        return damage(data, draw)
    text = json.dumps(oddly(json.loads(found[0]), draw)).encode()[: len(found[0])].ljust(len(found[0]))
    data = data[: found.start()] + text + data[found.end() :]
    return png(data, draw, lambda content, _: content) if data.startswith(b"\x89PNG") else data


def oddly(value, draw: random.Random):
    """The JSON value with one of its parts, at any depth, replaced, left out or added."""
    inner = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    if not inner or draw.random() < 0.1:
        return draw.choice(ODD)
    key, result = draw.choice(inner), value.copy()
    action = draw.random()
    if action < 0.15:
        del result[key]
    elif action < 0.25 and isinstance(result, dict):
        result["more"] = draw.choice(ODD)
    else:
        result[key] = oddly(result[key], draw)
    return result
