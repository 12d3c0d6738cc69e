# SPDX-License-Identifier: GPL-3.0-or-later
"""readPixels: an EXR of any origin, decoded in the sandbox."""

from __future__ import annotations

from typing import Any

from . import pixels
from .failure import Failure


def read_pixels(arguments: dict[str, Any], _progress: Any) -> dict[str, Any]:
    """Writes the canonical form of the file, or of a crop of it."""
    decoded = pixels.decode(arguments["exr"])
    crop = arguments.get("crop") or {"x": 0, "y": 0, "width": decoded.width, "height": decoded.height}
    right, bottom = crop["x"] + crop["width"], crop["y"] + crop["height"]
    if right > decoded.width or bottom > decoded.height:
        raise Failure(
            "MESSAGE_INVALID",
            f"the crop ends at {right}, {bottom}, but the file is {decoded.width} x {decoded.height}",
        )
    with open(arguments["output"], "wb") as output:
        pixels.write_raw(decoded, slice(crop["y"], bottom), slice(crop["x"], right), output)
    return {
        "width": crop["width"],
        "height": crop["height"],
        "channels": decoded.names,
        "pixelDigest": pixels.digest(decoded),
    }
