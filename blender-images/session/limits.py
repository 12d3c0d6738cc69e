# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before any memory is taken for it."""

from __future__ import annotations

from .failure import Failure

# Blender itself stops at 65,536 pixels a side.
MAX_SIDE = 65_536
# 16,384 x 16,384: four times the largest picture anybody has asked a farm for, and 1 GiB a channel in float.
MAX_PIXELS = 2**28
# All passes of all view layers with cryptomatte come to about 200.
MAX_CHANNELS = 1024
# A 4K frame with 60 channels is 2 GiB; twice that still fits the memory of an ordinary node.
MAX_DECODED_BYTES = 2**32
# Deflate never does better than 1,032 : 1, so a file that claims more is lying about its size.
MAX_RATIO = 1100
# OpenEXR's own limit for a channel name, in bytes.
MAX_NAME = 255


def check_size(width: int, height: int, what: str) -> None:
    """Refuses pictures nobody means."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or width * height > MAX_PIXELS:
        limits = f"{MAX_SIDE} a side and 2^28 in all are the limit"
        raise Failure("TOO_LARGE", f"{what} is {width} x {height} pixels; {limits}")
