"""Captcha images, drawn and read without an imaging library.

Digits are really drawn, for people who look at the page, but the simulated recogniser reads the answer from a text
chunk of the file: what it simulates is CapSolver's interface, and not sight. Of other captchas there is only noise.
"""

from __future__ import annotations

import random
import struct
import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"Answer\x00"

# Digits of 3 by 5 pixels, one text of rows each.
_FONT = {
    "0": "### #.# #.# #.# ###",
    "1": ".#. ##. .#. .#. ###",
    "2": "### ..# ### #.. ###",
    "3": "### ..# ### ..# ###",
    "4": "#.# #.# ### ..# ..#",
    "5": "### #.. ### ..# ###",
    "6": "### #.. ### #.# ###",
    "7": "### ..# ..# .#. .#.",
    "8": "### #.# ### #.# ###",
    "9": "### #.# ### ..# ###",
}
_SCALE = 6
_INK, _PAPER = 40, 235


def draw(answer: str) -> bytes:
    """Return a PNG of these digits, 24 pixels wide for each and 42 high, with some noise."""
    dice = random.Random(answer)
    width, height = len(answer) * 4 * _SCALE, 7 * _SCALE
    rows = [bytearray([_PAPER]) * width for _ in range(height)]
    for index, digit in enumerate(answer):
        left, top = index * 4 * _SCALE + _SCALE // 2, _SCALE + dice.randrange(-_SCALE // 2, _SCALE // 2)
        for y, line in enumerate(_FONT[digit].split()):
            for x, dot in enumerate(line):
                if dot == "#":
                    for row in range(top + y * _SCALE, top + (y + 1) * _SCALE):
                        start = left + x * _SCALE
                        rows[row][start : start + _SCALE] = bytes([_INK]) * _SCALE
    for _ in range(width * height // 20):
        rows[dice.randrange(height)][dice.randrange(width)] = dice.randrange(256)
    return _png(rows, answer)


def noise(answer: str, width: int, height: int) -> bytes:
    """Return a PNG of this size that shows nothing, and carries the answer, which is of ASCII."""
    dice = random.Random(answer)
    return _png([bytearray(dice.randbytes(width)) for _ in range(height)], answer)


def _png(rows: list[bytearray], answer: str) -> bytes:
    # Eight-bit grey; each row begins with filter type 0.
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\x00" + row for row in rows), 1)
    return (
        _SIGNATURE
        + _chunk(b"IHDR", header)
        + _chunk(b"tEXt", _KEYWORD + answer.encode("ascii"))
        + _chunk(b"IDAT", pixels)
        + _chunk(b"IEND", b"")
    )


def read(image: bytes) -> str | None:
    """Return the answer that an image of this module carries, or nothing if the bytes are anything else."""
    if not image.startswith(_SIGNATURE):
        return None
    answer = None
    at = len(_SIGNATURE)
    while at + 12 <= len(image):
        (length,) = struct.unpack_from(">I", image, at)
        kind, data = image[at + 4 : at + 8], image[at + 8 : at + 8 + length]
        if image[at + 8 + length : at + 12 + length] != struct.pack(">I", zlib.crc32(kind + data)):
            return None
        if kind == b"tEXt" and data.startswith(_KEYWORD):
            answer = data[len(_KEYWORD) :].decode("latin-1")
        if kind == b"IEND":
            return answer
        at += 12 + length
    return None


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
