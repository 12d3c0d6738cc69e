# SPDX-License-Identifier: GPL-3.0-or-later
"""Tiles pasted into one frame, channel by channel, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import OpenImageIO as oiio

from .failure import Failure
from .limits import check_size
from .pixels import Pixels, code_units, decode, refuse
from .region import Rect

# What Blender needs to see a multilayer file, and what its Cryptomatte node reads names from. Nothing else is
# carried over: dates would make every run another file.
KEPT = ("BlenderMultiChannel", "cryptomatte/")
# Blender's own value; it only looks whether the attribute is there.
MULTI_CHANNEL = "Blender V2.55.1 and newer"
# OpenImageIO puts the clock's time where a file names none: the same pixels would be another file each second.
NO_DATE = "1970:01:01 00:00:00"
# What Blender has in the pixels of these passes that were not rendered: infinitely far, unknown motion.
OUTSIDE = {"Depth": 10e10, "Vector": 10000.0}


def check_cover(region: Rect, rects: list[Rect]) -> None:
    """Every pixel of the region exactly once."""
    counts = np.zeros((region["height"], region["width"]), dtype=np.uint8)
    for rect in rects:
        left, top = rect["x"] - region["x"], rect["y"] - region["y"]
        right, bottom = left + rect["width"], top + rect["height"]
        if left < 0 or top < 0 or right > region["width"] or bottom > region["height"]:
            raise Failure("MESSAGE_INVALID", f"the tile {rect} is not inside the region {region}")
        part = counts[top:bottom, left:right]
        if part.any():
            raise Failure("MESSAGE_INVALID", f"the tile {rect} lies on another one")
        part[:] = 1
    if not counts.all():
        raise Failure("MESSAGE_INVALID", f"{int((counts == 0).sum())} pixels of the region are in no tile")


def merge(region: Rect, picture: Rect, tiles: list[dict[str, Any]], progress: Callable[[float, str], None]) -> Pixels:
    """The picture's pixels; what is outside the region is what Blender has there."""
    check_size(picture["width"], picture["height"], "the picture")
    check_cover(region, [tile["rect"] for tile in tiles])
    check_cover_of_picture(region, picture)
    merged: Pixels | None = None
    for number, tile in enumerate(tiles):
        rect = tile["rect"]
        decoded = decode(tile["path"], (rect["width"], rect["height"]))
        if merged is None:
            planes = np.zeros((len(decoded.names), picture["height"], picture["width"]), dtype=np.float32)
            for plane, name in zip(planes, decoded.names, strict=True):
                plane[:] = OUTSIDE.get(name.split(".")[-2] if "." in name else name, 0.0)
            merged = Pixels(decoded.names, planes, decoded.attributes, decoded.half)
        elif decoded.names != merged.names:
            raise refuse(tile["path"], "other channels than the first tile")
        left, top = rect["x"] - picture["x"], rect["y"] - picture["y"]
        merged.planes[:, top : top + rect["height"], left : left + rect["width"]] = decoded.planes
        progress((number + 1) / len(tiles) * 0.5, "Merging tiles")
    if merged is None:
        raise Failure("MESSAGE_INVALID", "no tiles")
    return merged


def check_cover_of_picture(region: Rect, picture: Rect) -> None:
    """The picture has to contain the region."""
    if (
        region["x"] < picture["x"]
        or region["y"] < picture["y"]
        or region["x"] + region["width"] > picture["x"] + picture["width"]
        or region["y"] + region["height"] > picture["y"] + picture["height"]
    ):
        raise Failure("MESSAGE_INVALID", f"the region {region} is not inside the picture {picture}")


def codec_of(arguments: dict[str, Any]) -> str:
    """The EXR codec for what the host calls `zip` or `fastest`. Of those that lose nothing this one takes a tenth."""
    return "rle" if arguments["exrCodec"] == "fastest" else arguments["exrCodec"]


def write_exr(pixels: Pixels, path: str, codec: str = "zip") -> None:
    """One multilayer EXR, lossless, the same bytes for the same pixels."""
    spec = oiio.ImageSpec(pixels.width, pixels.height, len(pixels.names), oiio.FLOAT)
    spec.channelnames = tuple(pixels.names)
    if pixels.half:
        spec.channelformats = tuple(oiio.HALF if name in pixels.half else oiio.FLOAT for name in pixels.names)
    spec.attribute("compression", codec)
    spec.attribute("BlenderMultiChannel", MULTI_CHANNEL)
    spec.attribute("DateTime", NO_DATE)
    for name, value in pixels.attributes.items():
        if name.startswith(KEPT) and isinstance(value, str):
            spec.attribute(name, value)
    # By its name: the path of a picture has no extension that would say it.
    writer = oiio.ImageOutput.create("openexr")
    if writer is None or not writer.open(path, spec):
        raise Failure("RENDER_FAILED", f"the merged frame cannot be written: {oiio.geterror().strip()}")
    try:
        if not writer.write_image(np.ascontiguousarray(pixels.planes.transpose(1, 2, 0))):
            raise Failure("RENDER_FAILED", f"the merged frame cannot be written: {writer.geterror().strip()}")
    finally:
        writer.close()


def write_multilayer(frame: str, composite: str | None, path: str, codec: str, half: bool) -> None:
    """The file that Blender writes in its multilayer format: the frame's layers, and the compositor's result."""
    layers = decode(frame)
    names, planes = layers.names, layers.planes
    if composite is not None:
        picture = decode(composite, (layers.width, layers.height))
        names = [*names, *(f"Composite.Combined.{name}" for name in picture.names)]
        planes = np.concatenate([planes, picture.planes])
    order = sorted(range(len(names)), key=lambda index: code_units(names[index]))
    # As in Blender: colours only. The channels of a cryptomatte are in small letters.
    colors = frozenset(name for name in names if half and name.rsplit(".", 1)[-1] in ("R", "G", "B", "A"))
    both = Pixels([names[index] for index in order], planes[order], layers.attributes, layers.half | colors)
    write_exr(both, path, codec.lower())
