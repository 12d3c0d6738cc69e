# SPDX-License-Identifier: GPL-3.0-or-later
"""readPixels, digestPixels: EXR files of any origin, decoded in the sandbox."""

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


def digest_pixels(arguments: dict[str, Any], _progress: Any) -> dict[str, Any]:
    """What each of many files holds, or why it holds nothing; one command, since a round trip takes longer than a tile."""
    return {"files": [digest_file(path) for path in arguments["exrs"]]}


def digest_file(path: str) -> dict[str, Any]:
    """One file, or why not: a file that is none must not hide the others."""
    try:
        decoded = pixels.decode(path)
    except Failure as failure:
        return {"ok": False, "code": failure.code, "message": failure.message, "details": failure.details}
    return {
        "ok": True,
        "width": decoded.width,
        "height": decoded.height,
        "channels": decoded.names,
        "pixelDigest": pixels.digest(decoded),
    }
