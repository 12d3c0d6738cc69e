# SPDX-License-Identifier: GPL-3.0-or-later
"""preview: a small picture of a frame, for quotes and for looking at."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import bpy

from .denoising import can_denoise, uses_denoising
from .failure import Failure
from .overriding import image_format, overridden
from .region import full_size
from .rendering import check_renderable

# Larger is a render, and has a command of its own.
MAX_LONG_SIDE = 2048


def preview_size(scene: bpy.types.Scene, long_side: int) -> tuple[int, int]:
    """The frame's size with this longer side; never larger than the frame itself."""
    width, height = full_size(scene)
    if not 1 <= long_side <= MAX_LONG_SIDE:
        raise Failure("MESSAGE_INVALID", f"a preview has 1 to {MAX_LONG_SIDE} pixels a side, not {long_side}")
    scale = min(1.0, long_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def settings_for(scene: bpy.types.Scene, arguments: dict[str, Any], size: tuple[int, int]) -> ExitStack:
    """All settings of a preview, to be put back when the stack closes."""
    stack = ExitStack()
    stack.enter_context(
        overridden(
            scene.render,
            resolution_x=size[0],
            resolution_y=size[1],
            resolution_percentage=100,
            use_border=False,
            filepath=arguments["output"],
            use_file_extension=False,
            # Nodes that count in pixels would look different at this size, and File Output nodes would write.
            use_compositing=False,
            use_sequencer=False,
            use_stamp=False,
        )
    )
    stack.enter_context(
        image_format(scene.render.image_settings, file_format="PNG", color_mode="RGBA", color_depth="8")
    )
    denoise = uses_denoising(scene) and can_denoise()
    stack.enter_context(overridden(scene.cycles, samples=arguments["samples"], use_denoising=denoise))
    for layer in scene.view_layers:
        stack.enter_context(overridden(layer, samples=0))
    return stack


def preview(arguments: dict[str, Any], _progress: Any) -> dict[str, Any]:
    """Renders the whole frame small. Its pixels prove nothing and are not digested."""
    scene = bpy.context.scene
    check_renderable(scene)
    size = preview_size(scene, int(arguments["longSide"]))
    started = time.monotonic()
    with settings_for(scene, arguments, size):
        scene.frame_current = arguments["frame"]
        scene.frame_subframe = 0.0
        try:
            bpy.ops.render.render(write_still=True)
        except RuntimeError as error:
            raise Failure("RENDER_FAILED", str(error).strip()) from error
    milliseconds = round((time.monotonic() - started) * 1000, 1)
    return {"width": size[0], "height": size[1], "renderMs": milliseconds}
