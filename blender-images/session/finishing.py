# SPDX-License-Identifier: GPL-3.0-or-later
"""finish: tiles into one frame, and the scene's own compositor over it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from . import compositing, merging, pixels
from .failure import Failure
from .overriding import image_format, overridden
from .region import Rect, bordered, full_size

# PNG keeps these; everything else Blender offers (EXR's, video's) becomes 8-bit.
PNG_MODES = ("BW", "RGB", "RGBA")


@contextmanager
def copied(scene: bpy.types.Scene) -> Iterator[bpy.types.Scene]:
    """
    A copy of the scene to work on: its compositor tree is its own, objects are shared. The original is not
    touched, so a later render of it is what it was.
    """
    copy = scene.copy()
    try:
        yield copy
    finally:
        bpy.data.scenes.remove(copy)


def compose(scene: bpy.types.Scene, region: Rect, crop: bool, frame: int, exr: str, output: str) -> None:
    """Runs the compositor without rendering anything."""
    foreign = compositing.foreign_scenes(scene)
    if foreign:
        raise Failure("SCENE_UNSUPPORTED", foreign[0])
    with copied(scene) as copy:
        image = bpy.data.images.load(exr, check_existing=False)
        try:
            if compositing.is_used(scene):
                compositing.feed_from_file(copy, image)
            else:
                compositing.pass_through(copy, image)
            write_picture(copy, region, crop, frame, output)
        finally:
            bpy.data.images.remove(image)


def write_picture(scene: bpy.types.Scene, region: Rect, crop: bool, frame: int, output: str) -> None:
    """The PNG, with the scene's own settings where they are PNG's."""
    settings = scene.render.image_settings
    is_png = settings.file_format == "PNG"
    mode = settings.color_mode if settings.color_mode in PNG_MODES else "RGBA"
    depth = settings.color_depth if is_png else "8"
    scene.frame_current = frame
    scene.frame_subframe = 0.0
    with (
        bordered(scene, region, crop),
        overridden(
            scene.render,
            filepath=output,
            use_file_extension=False,
            use_compositing=True,
            use_sequencer=False,
            use_single_layer=False,
        ),
        image_format(settings, file_format="PNG", color_mode=mode, color_depth=depth),
    ):
        try:
            bpy.ops.render.render(write_still=True, scene=scene.name)
        except RuntimeError as error:
            raise Failure("RENDER_FAILED", str(error).strip()) from error


def finish(arguments: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Merges, writes the frame, composes, writes the picture."""
    started = time.monotonic()
    scene = bpy.context.scene
    region = arguments["region"]
    picture = arguments.get("picture") or region
    crop = picture == region
    if not crop and (picture["x"], picture["y"], picture["width"], picture["height"]) != (0, 0, *full_size(scene)):
        raise Failure("MESSAGE_INVALID", "the picture is neither the region nor the full frame")
    merged = merging.merge(region, picture, arguments["tiles"], progress)
    merging.write_exr(merged, arguments["exrOutput"])
    digest = pixels.digest(merged)
    del merged
    progress(0.5, "Compositing")
    compose(scene, region, crop, arguments["frame"], arguments["exrOutput"], arguments["pictureOutput"])
    return {
        "pixelDigest": digest,
        "width": picture["width"],
        "height": picture["height"],
        "finishMs": round((time.monotonic() - started) * 1000, 1),
    }
