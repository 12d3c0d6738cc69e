# SPDX-License-Identifier: GPL-3.0-or-later
"""The mosaic floor's picture, drawn tile by tile in plain Python."""

from __future__ import annotations

import os
import struct
import zlib
from math import atan2, cos, floor, hypot, tau
from random import Random

RGB = tuple[int, int, int]

GROUT: RGB = (206, 192, 168)
IVORY: tuple[RGB, ...] = ((238, 226, 203), (229, 214, 187), (243, 233, 214))
TEAL: tuple[RGB, ...] = ((8, 104, 114), (14, 120, 124), (5, 86, 102))
NAVY: tuple[RGB, ...] = ((16, 36, 70), (20, 46, 84), (12, 30, 60))
GOLD: tuple[RGB, ...] = ((212, 138, 22), (222, 154, 40), (194, 120, 14))
CORAL: tuple[RGB, ...] = ((192, 58, 32), (206, 74, 42), (176, 48, 26))


def _star(ring: int, angle: float) -> tuple[RGB, ...]:
    """Colours of a tile of the rosette by its ring and its angle."""
    wave = cos(8.0 * angle)
    if ring <= 1:
        return GOLD
    if ring == 2:
        return NAVY
    if ring <= 14:
        reach = 5.0 + 9.6 * max(0.0, wave) ** 0.9
        between = 6.0 + 7.0 * max(0.0, -wave) ** 0.9
        if ring <= reach and wave > 0.0:
            return CORAL if ring <= reach - 2.6 else GOLD
        if ring <= between:
            return TEAL if ring <= between - 2.2 else NAVY
        return IVORY
    if ring == 15:
        return NAVY
    if ring == 16:
        return TEAL if floor(angle / tau * 48) % 2 else GOLD
    return NAVY


def _field(column: int, row: int, half: int) -> tuple[RGB, ...]:
    """Colours of a square tile outside the rosette, counted from the middle."""
    edge = half - 1 - max(abs(column + 0.5), abs(row + 0.5)) + 0.5
    if edge < 1:
        return NAVY
    if edge < 2:
        return GOLD
    if edge < 5:
        along = column + row if edge < 3 or edge >= 4 else column - row
        return TEAL if along % 4 < 2 else IVORY
    if edge < 6:
        return NAVY
    a, b = abs(column + 0.5), abs(row + 0.5)
    corner = abs(a - (half - 9.5)) + abs(b - (half - 9.5))
    if corner < 4:
        return GOLD if corner < 1.5 else CORAL if corner < 3 else NAVY
    return TEAL if (int(a) + int(b)) % 7 == 0 else IVORY


def draw(path: str, size: int = 1024, tiles: int = 52) -> None:
    """Write the picture as an 8-bit RGB PNG."""
    cell = size / tiles
    half = tiles // 2
    shades: dict[tuple[int, int, int], RGB] = {}

    def shade(key: tuple[int, int, int], choice: tuple[RGB, ...]) -> RGB:
        if key not in shades:
            rng = Random(f"{key}")
            gain = rng.uniform(0.88, 1.08)
            base = rng.choice(choice)
            shades[key] = tuple(min(255, int(c * gain)) for c in base)  # type: ignore
        return shades[key]

    rosette = 18
    counts = [max(6, 8 * round(tau * (r + 0.5) / 8.0)) for r in range(rosette)]
    rows = bytearray()
    grout = 0.085
    for j in range(size):
        rows.append(0)
        y = (size / 2.0 - j - 0.5) / cell
        for i in range(size):
            x = (i + 0.5 - size / 2.0) / cell
            radius = hypot(x, y)
            ring = int(radius)
            if ring < rosette:
                angle = _angle(x, y)
                count = counts[ring]
                turn = angle / tau * count + 0.5 * (ring % 2)
                index = int(turn)
                middle = (index + 0.5 - 0.5 * (ring % 2)) / count * tau
                color = shade((0, ring, index % count), _star(ring, middle))
                side = (turn - index) * tau * radius / count
                width = tau * radius / count
                near = min(radius - ring, ring + 1 - radius, side, width - side)
            else:
                column, row = floor(x), floor(y)
                color = shade((1, column, row), _field(column, row, half))
                near = min(x - column, column + 1 - x, y - row, row + 1 - y)
                near = min(near, radius - rosette)
            blend = min(1.0, max(0.0, (near - grout) * cell + 0.5))
            rows += bytes(int(g + (c - g) * blend) for c, g in zip(color, GROUT))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
        for kind, body in (
            (b"IHDR", header),
            (b"IDAT", zlib.compress(bytes(rows), 9)),
            (b"IEND", b""),
        ):
            file.write(struct.pack(">I", len(body)) + kind + body)
            file.write(struct.pack(">I", zlib.crc32(kind + body)))


def _angle(x: float, y: float) -> float:
    return atan2(y, x) % tau
