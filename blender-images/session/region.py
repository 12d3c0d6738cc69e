# SPDX-License-Identifier: GPL-3.0-or-later
"""Pixel rectangles and Blender's render border. Rectangles: x to the right, y down, origin at the top left."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TypedDict

import bpy
import numpy as np

from .failure import Failure
from .limits import check_size
from .overriding import overridden


class Rect(TypedDict):
    """As in protocol/rect.ts."""

    x: int
    y: int
    width: int
    height: int


def full_size(scene: bpy.types.Scene) -> tuple[int, int]:
    """The full frame in pixels; Blender divides whole numbers."""
    render = scene.render
    width = render.resolution_x * render.resolution_percentage // 100
    height = render.resolution_y * render.resolution_percentage // 100
    check_size(width, height, "the frame")
    return width, height


def border_rect(scene: bpy.types.Scene) -> Rect:
    """The pixels of the scene's render border, or of the whole frame where it has none."""
    width, height = full_size(scene)
    render = scene.render
    if not render.use_border:
        return {"x": 0, "y": 0, "width": width, "height": height}
    # Blender multiplies in single precision and cuts off.
    left = int(np.float32(render.border_min_x) * np.float32(width))
    right = int(np.float32(render.border_max_x) * np.float32(width))
    bottom = int(np.float32(render.border_min_y) * np.float32(height))
    top = int(np.float32(render.border_max_y) * np.float32(height))
    if right <= left or top <= bottom:
        raise Failure("SCENE_UNSUPPORTED", "the render border of the scene is empty")
    return {"x": left, "y": height - top, "width": right - left, "height": top - bottom}


def grown(rect: Rect, margin: int, bounds: Rect) -> Rect:
    """The rectangle and `margin` pixels around it, as far as the bounds go; unchanged where it is not inside them."""
    right, bottom = rect["x"] + rect["width"], rect["y"] + rect["height"]
    last_right, last_bottom = bounds["x"] + bounds["width"], bounds["y"] + bounds["height"]
    if rect["x"] < bounds["x"] or rect["y"] < bounds["y"] or right > last_right or bottom > last_bottom:
        return rect
    left, top = max(bounds["x"], rect["x"] - margin), max(bounds["y"], rect["y"] - margin)
    right, bottom = min(last_right, right + margin), min(last_bottom, bottom + margin)
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


def picture_rect(scene: bpy.types.Scene) -> Rect:
    """What the picture covers: without 'crop to render region' Blender fills up the full frame."""
    if scene.render.use_border and scene.render.use_crop_to_border:
        return border_rect(scene)
    width, height = full_size(scene)
    return {"x": 0, "y": 0, "width": width, "height": height}


def check_inside(scene: bpy.types.Scene, rect: Rect) -> None:
    """Refuses what is not part of the full frame."""
    width, height = full_size(scene)
    right, bottom = rect["x"] + rect["width"], rect["y"] + rect["height"]
    if rect["x"] < 0 or rect["y"] < 0 or rect["width"] < 1 or rect["height"] < 1 or right > width or bottom > height:
        raise Failure("MESSAGE_INVALID", f"the rectangle {rect} is not inside the frame of {width} x {height}")


def bordered(scene: bpy.types.Scene, rect: Rect, crop: bool) -> AbstractContextManager[None]:
    """
    Makes Blender compute exactly this rectangle, for as long as the context lasts. With `crop` the picture is the
    rectangle, else the full frame with nothing around it.
    """
    check_inside(scene, rect)
    width, height = full_size(scene)
    right, bottom = rect["x"] + rect["width"], rect["y"] + rect["height"]
    whole = (rect["width"], rect["height"]) == (width, height)
    # Half a pixel further in, so that cutting off lands on the right pixel whatever the rounding. The last edge
    # would be past 1, where Blender clamps it to exactly 1.
    return overridden(
        scene.render,
        use_border=not whole,
        use_crop_to_border=crop and not whole,
        border_min_x=(rect["x"] + 0.5) / width,
        border_max_x=min(1.0, (right + 0.5) / width),
        border_min_y=(height - bottom + 0.5) / height,
        border_max_y=min(1.0, (height - rect["y"] + 0.5) / height),
    )
