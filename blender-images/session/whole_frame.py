# SPDX-License-Identifier: GPL-3.0-or-later
"""frame: one untiled frame, rendered and finished in one go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import bpy

from . import compositing, denoising, extras, finishing, merging, output, pixels, rendering
from .failure import Failure
from .inspection import samples_of
from .memory import peak_bytes, reset_peak
from .overriding import image_format
from .region import bordered

# Blender puts what the compositor made beside the view layers, as if it were one of them.
COMPOSITE_LAYER = "Composite"


def needs_two_steps(scene: bpy.types.Scene, arguments: dict[str, Any]) -> bool:
    """
    Whether one render call cannot give both files. Half floats: the picture must come from the pixels that are
    delivered, not from finer ones. A view layer of that name: its channels and the compositor's are called the same.
    Denoising: the layers are kept as they were before it.
    """
    named = any(layer.use and layer.name == COMPOSITE_LAYER for layer in scene.view_layers)
    return arguments["precision"] == "half" or named or denoising.denoised(scene)


def save_layers(scene: bpy.types.Scene, path: str) -> tuple[pixels.Pixels, bool]:
    """
    The view layers of the last render, without what the compositor made of them; and whether that is all there is in
    the file.
    """
    result = next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)
    if result is None:
        raise Failure("RENDER_FAILED", "Blender kept no result of the render")
    # Uncompressed: the file is read back at once, and compressing takes longer than everything else here.
    with image_format(
        scene.render.image_settings,
        file_format=output.MULTILAYER,
        color_depth="32",
        exr_codec="NONE",
        use_preview=False,
    ):
        try:
            result.save_render(path, scene=scene)
        except RuntimeError as error:
            raise Failure("RENDER_FAILED", f"the layers cannot be written: {str(error).strip()}") from error
    decoded = pixels.decode(path)
    layers = pixels.without(decoded, lambda name: name.startswith(f"{COMPOSITE_LAYER}."))
    return layers, layers is decoded


def render_once(scene: bpy.types.Scene, arguments: dict[str, Any], crop: bool) -> dict[str, Any]:
    """Blender renders, composes and writes as it does for an artist; the layers are saved from what it keeps."""
    started = time.monotonic()
    foreign = compositing.foreign_scenes(scene)
    if foreign:
        raise Failure("SCENE_UNSUPPORTED", foreign[0])
    with rendering.sampled(scene, arguments.get("samples")), bordered(scene, arguments["region"], crop):
        samples = samples_of(scene)
        rendering.set_frame(scene, arguments["frame"])
        with extras.redirected(scene, arguments["extraPrefix"]) as files:
            settings = output.picture_format(scene, arguments["output"])
            finishing.write_picture(scene, settings, arguments["pictureOutput"])
        rendered = time.monotonic()
        layers, whole = save_layers(scene, arguments["exrOutput"])
    digest = pixels.digest(layers)
    # Written again only to be small, or to leave something out: that takes as long as everything else here.
    if not whole or arguments["exrCodec"] != "fastest":
        merging.write_exr(layers, arguments["exrOutput"], merging.codec_of(arguments))
    return {
        "pixelDigest": digest,
        "renderMs": round((rendered - started) * 1000, 1),
        "finishMs": round((time.monotonic() - rendered) * 1000, 1),
        "samples": samples,
        "width": layers.width,
        "height": layers.height,
        "extraFiles": files,
    }


def render_twice(arguments: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """The two commands of a tiled frame, one after the other, with the whole region for a tile."""
    region = arguments["region"]
    tile = f"{arguments['exrOutput']}.tile"
    try:
        rendered = rendering.render({**arguments, "rect": region, "output": tile}, progress)
        tiles = [{"rect": region, "path": tile}]
        finished = finishing.finish({**arguments, "tiles": tiles}, progress)
    finally:
        if os.path.exists(tile):
            os.remove(tile)
    timing = {"renderMs": rendered["renderMs"], "finishMs": finished["finishMs"], "samples": rendered["samples"]}
    return {**finished, **timing}


def frame(arguments: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Renders the whole region; gives the finished picture, and the layers as the tiles' merged frame has them."""
    scene = bpy.context.scene
    rendering.check_renderable(scene)
    crop = finishing.is_cropped(scene, arguments)
    reset_peak()
    two_steps = needs_two_steps(scene, arguments)
    result = render_twice(arguments, progress) if two_steps else render_once(scene, arguments, crop)
    return {**result, "peakMemoryBytes": peak_bytes()}
