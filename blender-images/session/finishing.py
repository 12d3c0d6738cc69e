# SPDX-License-Identifier: GPL-3.0-or-later
"""finish: tiles into one frame, and the scene's own compositor over it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from . import compositing, extras, merging, pixels
from .failure import Failure
from .output import MULTILAYER, picture_format
from .overriding import image_format, overridden
from .region import bordered, full_size
from .rendering import set_frame

# What a burnt-in note or a file's metadata would have from the machine and the clock: another picture every time.
VOLATILE_STAMPS = ("date", "render_time", "memory", "hostname", "filename")


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


def is_cropped(scene: bpy.types.Scene, arguments: dict[str, Any]) -> bool:
    """Whether the picture is the region itself; else it has to be the full frame."""
    region = arguments["region"]
    picture = arguments.get("picture") or region
    if picture == region:
        return True
    if (picture["x"], picture["y"], picture["width"], picture["height"]) != (0, 0, *full_size(scene)):
        raise Failure("MESSAGE_INVALID", "the picture is neither the region nor the full frame")
    return False


def compose(scene: bpy.types.Scene, arguments: dict[str, Any], crop: bool) -> list[extras.ExtraFile]:
    """Runs the compositor over the merged frame without rendering anything."""
    foreign = compositing.foreign_scenes(scene)
    if foreign:
        raise Failure("SCENE_UNSUPPORTED", foreign[0])
    # Of the original: a render of another scene than the current one takes the frame of the current one.
    set_frame(scene, arguments["frame"])
    with copied(scene) as copy:
        image = bpy.data.images.load(arguments["exrOutput"], check_existing=False)
        try:
            if compositing.runs(scene):
                compositing.feed_from_file(copy, image)
            if not compositing.is_used(scene):
                compositing.pass_through(copy, image, keep=compositing.runs(scene))
            with (
                bordered(copy, arguments["region"], crop),
                overridden(copy.render, use_compositing=True),
                extras.redirected(copy, arguments["extraPrefix"]) as files,
            ):
                write_composite(copy, arguments, beside=compositing.runs(scene))
        finally:
            bpy.data.images.remove(image)
    return files


def write_composite(scene: bpy.types.Scene, arguments: dict[str, Any], beside: bool) -> None:
    """The picture. In a multilayer file that is the merged frame's layers and, `beside` them, what became of them."""
    settings = picture_format(scene, arguments["output"])
    path = arguments["pictureOutput"]
    if settings["file_format"] != MULTILAYER:
        write_picture(scene, settings, path)
        return
    codec = settings.get("exr_codec") or scene.render.image_settings.exr_codec
    half = settings["color_depth"] == "16"
    composite = f"{path}.composite"
    try:
        single = {"file_format": "OPEN_EXR", "color_depth": settings["color_depth"], "color_mode": "RGBA"}
        write_picture(scene, {**single, "exr_codec": "NONE"}, composite)
        merging.write_multilayer(arguments["exrOutput"], composite if beside else None, path, codec, half)
    finally:
        if os.path.exists(composite):
            os.remove(composite)


def write_picture(scene: bpy.types.Scene, settings: dict[str, Any], path: str) -> None:
    """Renders what there is to render, composes, and writes the picture as Blender does for an artist."""
    with (
        overridden(
            scene.render,
            filepath=path,
            use_sequencer=False,
            use_single_layer=False,
            **{f"use_stamp_{name}": False for name in VOLATILE_STAMPS},
        ),
        image_format(scene.render.image_settings, **settings),
    ):
        try:
            bpy.ops.render.render(write_still=True, scene=scene.name)
        except RuntimeError as error:
            raise Failure("RENDER_FAILED", str(error).strip()) from error
    without_extension(path)


def without_extension(path: str) -> None:
    """
    Takes back the extension that Blender adds where the scene says so. That setting names the files of File Output
    nodes too, so it stays as it is.
    """
    folder, name = os.path.split(path)
    added = [entry for entry in os.listdir(folder) if entry.startswith(f"{name}.")]
    if not os.path.exists(path) and len(added) == 1:
        os.rename(os.path.join(folder, added[0]), path)


def finish(arguments: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Merges, writes the frame, composes, writes the picture."""
    started = time.monotonic()
    scene = bpy.context.scene
    region = arguments["region"]
    picture = arguments.get("picture") or region
    crop = is_cropped(scene, arguments)
    merged = merging.merge(region, picture, arguments["tiles"], progress)
    merging.write_exr(merged, arguments["exrOutput"], merging.codec_of(arguments))
    digest = pixels.digest(merged)
    del merged
    progress(0.5, "Compositing")
    files = compose(scene, arguments, crop)
    return {
        "pixelDigest": digest,
        "width": picture["width"],
        "height": picture["height"],
        "finishMs": round((time.monotonic() - started) * 1000, 1),
        "extraFiles": files,
    }
