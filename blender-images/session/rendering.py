# SPDX-License-Identifier: GPL-3.0-or-later
"""render: one pixel rectangle of one frame, all passes, as one float EXR."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import bpy

from . import denoising, merging, pixels
from .failure import Failure
from .inspection import STEREO, samples_of
from .memory import peak_bytes, reset_peak
from .overriding import image_format, overridden
from .region import Rect, border_rect, bordered, check_inside, grown

# Cycles looks at the noise of every pixel after so many samples.
SAMPLES_PER_LOOK = 16
# Where the property ends: Blender would cut off a larger number.
MAX_SAMPLE_OFFSET = 1 << 24
# Half is for colours only; Blender keeps depth, vectors and cryptomatte in 32 bits whatever is asked.
DEPTHS = {"float": "32", "half": "16"}


def check_renderable(scene: bpy.types.Scene) -> None:
    """Refuses what Blender would refuse late, or worse, not at all."""
    if scene.render.engine != "CYCLES":
        engine = scene.render.engine
        raise Failure("ENGINE_NOT_HEADLESS", f"the engine is {engine}; only Cycles renders without a display")
    if scene.camera is None:
        raise Failure("SCENE_NO_CAMERA", f"scene {scene.name!r} has no camera")
    if scene.render.use_multiview:
        raise Failure("SCENE_UNSUPPORTED", STEREO)


def margin_of(scene: bpy.types.Scene, samples: int | None) -> int:
    """
    How many pixels around a rectangle have a say in it. Adaptive sampling keeps a pixel going as long as a neighbour
    is noisy; a tile rendered for itself misses the neighbours beyond its border (docs/decisions/adaptive-sampling.md).
    """
    if not scene.cycles.use_adaptive_sampling:
        return 0
    most = samples or max([scene.cycles.samples, *(layer.samples for layer in scene.view_layers)])
    # One pixel at every look at the noise is the bound; most of it is gone much earlier.
    looks = math.ceil(most / SAMPLES_PER_LOOK)
    return min(looks, math.ceil(math.log2(looks)) + 2)


def settings_for(scene: bpy.types.Scene, arguments: dict[str, Any], rect: Rect, codec: str) -> ExitStack:
    """All settings of a tile, to be put back when the stack closes."""
    stack = ExitStack()
    stack.enter_context(bordered(scene, rect, crop=True))
    stack.enter_context(
        overridden(
            scene.render,
            filepath=arguments["output"],
            use_file_extension=False,
            use_compositing=False,
            use_sequencer=False,
            use_single_layer=False,
            # A date in the picture would be another picture every second.
            use_stamp=False,
        )
    )
    stack.enter_context(
        image_format(
            scene.render.image_settings,
            file_format="OPEN_EXR_MULTILAYER",
            color_depth=DEPTHS[arguments["precision"]],
            exr_codec=codec,
            use_preview=False,
        )
    )
    stack.enter_context(sampled(scene, arguments.get("samples"), arguments.get("sampleOffset") or 0))
    return stack


def offset_after(scene: bpy.types.Scene, skipped: int) -> int:
    """How many samples Cycles is to skip: as many as the scene does by itself, and these."""
    if hasattr(scene.cycles, "use_sample_subset"):
        # There the offset alone does nothing, and two halves of a picture would be the same half.
        version = bpy.app.version_string
        raise Failure("SCENE_UNSUPPORTED", f"Blender {version} renders a part of the samples in a way not known here")
    offset = int(scene.cycles.sample_offset) + skipped
    if not 0 <= offset <= MAX_SAMPLE_OFFSET:
        raise Failure("MESSAGE_INVALID", f"{offset} samples cannot be skipped, {MAX_SAMPLE_OFFSET} are the limit")
    return offset


@contextmanager
def sampled(scene: bpy.types.Scene, samples: int | None, skipped: int = 0) -> Iterator[None]:
    """As many samples as were asked for, after those that are skipped, and the noise that they leave."""
    with ExitStack() as stack:
        stack.enter_context(denoising.with_guides(scene))
        if skipped:
            stack.enter_context(overridden(scene.cycles, sample_offset=offset_after(scene, skipped)))
        if samples is not None:
            stack.enter_context(overridden(scene.cycles, samples=samples))
            # A layer's own number would win over the one that was asked for.
            for layer in scene.view_layers:
                stack.enter_context(overridden(layer, samples=0))
        yield


def set_frame(scene: bpy.types.Scene, frame: int) -> None:
    """
    Not frame_set: that evaluates the whole scene once more for a viewport that nobody looks at. The render evaluates
    it anyway, cameras bound to markers included (8 % of the time on a scene heavy in modifiers).
    """
    scene.frame_current = frame
    scene.frame_subframe = 0.0


def render(arguments: dict[str, Any], _progress: Any) -> dict[str, Any]:
    """
    Renders, writes, reads back, digests. Progress is not told from here: Blender's render_stats handlers get no
    text (3.4), so the host reads what Blender prints.
    """
    scene = bpy.context.scene
    check_renderable(scene)
    rect, path = arguments["rect"], arguments["output"]
    reset_peak()
    started = time.monotonic()
    check_inside(scene, rect)
    larger = grown(rect, margin_of(scene, arguments.get("samples")), border_rect(scene))
    # What is cut and written again need not be packed for that.
    with settings_for(scene, arguments, larger, "ZIP" if larger == rect else "NONE"):
        samples = samples_of(scene)
        set_frame(scene, arguments["frame"])
        try:
            bpy.ops.render.render(write_still=True)
        except RuntimeError as error:
            raise Failure("RENDER_FAILED", str(error).strip()) from error
    rendered = pixels.decode(path, (larger["width"], larger["height"]))
    if larger != rect:
        x, y = rect["x"] - larger["x"], rect["y"] - larger["y"]
        rendered = pixels.cropped(rendered, x, y, rect["width"], rect["height"])
        merging.write_exr(rendered, path)
    return {
        "pixelDigest": pixels.digest(rendered),
        "renderMs": round((time.monotonic() - started) * 1000, 1),
        "peakMemoryBytes": peak_bytes(),
        "samples": samples,
    }
