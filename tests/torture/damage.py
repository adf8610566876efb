"""Damage to files: random bytes of any file, and values of JSON, CSV, YAML, .npy and safetensors that look whole."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path
from typing import Any

Stream = random.Random

STRANGE: list[Any] = [None, "text", "", True, [], {}, -1, 0, 0.5, 1e300, -1e300, 2**70, float("nan"), float("inf")]
CELLS = ["", "nan", "inf", "-inf", "1e999", "1_0", "text", "\0", '"', "1,2", "é", "-1", "0", "1e300", " 1", "None"]
LINES = ["{}", "[]", "null", "true", "1e-5", "'text'", "!!python/object:os.system {}", "&a [*a]", "2000-01-01", ".nan"]
HEADERS = ["(3, 2), ", "(2**63, 1), ", "(-1, 2), ", "(True, 2), ", "((), ), ", "(300.0, 4), ", "(), ", "(0, 4), "]


def damaged(content: bytes, suffix: str, stream: Stream) -> bytes:
    """`content` of a file of this kind, damaged in one of many ways."""
    if suffix in CRAFTED and stream.random() < 0.5:
        return CRAFTED[suffix](content, stream)
    return stream.choice(RANDOM)(content, stream)


# --- any file


def flipped(content: bytes, stream: Stream) -> bytes:
    """One bit; half of the time near the beginning, where headers are."""
    found = bytearray(content)
    reach = len(found) if stream.random() < 0.5 else min(len(found), 256)
    found[stream.randrange(reach)] ^= 1 << stream.randrange(8)
    return bytes(found)


def truncated(content: bytes, stream: Stream) -> bytes:
    return content[: stream.randrange(len(content))]


def longer(content: bytes, stream: Stream) -> bytes:
    return content + stream.randbytes(stream.randrange(1, 64))


def shorter(content: bytes, stream: Stream) -> bytes:
    """Without some bytes in the middle."""
    start = stream.randrange(len(content))
    return content[:start] + content[start + stream.randrange(1, 64) :]


def overwritten(content: bytes, stream: Stream) -> bytes:
    """Zeros, ones or noise over some bytes, as of a block that was never written."""
    start, n = stream.randrange(len(content)), stream.randrange(1, 64)
    noise = stream.choice([bytes(n), b"\xff" * n, stream.randbytes(n)])
    return content[:start] + noise + content[start + n :]


def twice(content: bytes, stream: Stream) -> bytes:
    start = stream.randrange(len(content))
    return content[:start] + content[stream.randrange(len(content)) :]


RANDOM = [flipped, flipped, flipped, truncated, longer, shorter, overwritten, twice]


# --- files that look whole


def json_value(content: bytes, stream: Stream) -> bytes:
    """A value replaced, or a key renamed, removed or doubled."""
    document = json.loads(content)
    at = document
    while True:
        keys: list[Any] = [*at] if isinstance(at, dict) else [*range(len(at))]
        if not keys:
            return b"{}"
        key = stream.choice(keys)
        if not isinstance(at[key], dict | list) or stream.random() < 0.3:
            break
        at = at[key]
    action = stream.randrange(4)
    if action == 0 or not isinstance(at, dict):
        at[key] = stream.choice(STRANGE)
    elif action == 1:
        at[f"{key}x"] = at.pop(key)
    elif action == 2:
        del at[key]
    else:
        text = json.dumps(document)
        return text.replace(f'"{key}":', f'"{key}": 1, "{key}":', 1).encode()
    return json.dumps(document).encode()


def csv_cell(content: bytes, stream: Stream) -> bytes:
    """A cell replaced, a column renamed, or a line removed or doubled."""
    lines = content.decode().splitlines()
    action, number = stream.randrange(5), stream.randrange(len(lines))
    if action == 0:
        del lines[number]
    elif action == 1:
        lines.insert(number, lines[number])
    else:
        number = 0 if action == 2 else number
        delimiter = next(sign for sign in "\t;," if sign in content.decode())
        cells = lines[number].split(delimiter)
        cells[stream.randrange(len(cells))] = stream.choice(CELLS)
        lines[number] = delimiter.join(cells)
    return ("\n".join(lines) + "\n").encode()


def yaml_line(content: bytes, stream: Stream) -> bytes:
    """The value of a line replaced, or the line removed, doubled or indented otherwise."""
    lines = content.decode().splitlines()
    number = stream.randrange(len(lines))
    action = stream.randrange(6)
    if action == 0:
        del lines[number]
    elif action == 1:
        lines.insert(number, lines[number])
    elif action == 2:
        lines[number] = " " + lines[number]
    else:
        value = stream.choice([json.dumps(stream.choice(STRANGE)), stream.choice(CELLS), stream.choice(LINES)])
        lines[number] = lines[number].split(":")[0] + ": " + value
    return ("\n".join(lines) + "\n").encode()


def npy_header(content: bytes, stream: Stream) -> bytes:
    """Another shape, type or order, in a header of the right length."""
    length = struct.unpack("<H", content[8:10])[0]
    header, data = content[10 : 10 + length].decode(), content[10 + length :]
    action = stream.randrange(3)
    if action == 0:
        start, end = header.index("(") if "(" in header else 0, header.index(")") + 3
        header = header[:start] + stream.choice(HEADERS) + header[end:]
    elif action == 1:
        kind = header.split("'descr': ")[1].split(",")[0]
        header = header.replace(kind, stream.choice(["'<f4'", "'>f8'", "'|O'", "'<c16'", "[('a', '<f8')]", "3", "'?'"]))
    else:
        header = header.replace("False", stream.choice(["True", "None", "0"]))
    written = header.rstrip().ljust(length - 1).encode() + b"\n"
    return content[:8] + struct.pack("<H", len(written)) + written + data


def safetensors_header(content: bytes, stream: Stream) -> bytes:
    """A value of the header, or of the evidence in it, replaced."""
    length = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    metadata = header.get("__metadata__", {})
    if "evidence" in metadata and stream.random() < 0.7:
        metadata["evidence"] = json_value(metadata["evidence"].encode(), stream).decode()
        written = json.dumps(header).encode()
    else:
        written = json_value(json.dumps(header).encode(), stream)
    return struct.pack("<Q", len(written)) + written + data


CRAFTED = {
    ".json": json_value,
    **dict.fromkeys((".csv", ".tsv"), csv_cell),
    **dict.fromkeys((".yaml", ".lock"), yaml_line),
    ".npy": npy_header,
    ".safetensors": safetensors_header,
}


def damage(path: Path, stream: Stream) -> None:
    """Damage a file, which is replaced: it may be a hard link."""
    content = path.read_bytes()
    new = content
    while new == content:
        new = damaged(content, path.suffix, stream)
    path.unlink()
    path.write_bytes(new)
