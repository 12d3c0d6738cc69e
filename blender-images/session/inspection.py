# SPDX-License-Identifier: GPL-3.0-or-later
"""inspect: what the farm has to know about a scene before anybody pays for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy

from . import caches, compositing, denoising, simulations
from .failure import Failure
from .files import scene_files
from .loading import loaded
from .output import writable_formats
from .region import border_rect, full_size, picture_rect

# The list is for a person to read; a rig with 500 scripted drivers is one problem, not 500.
MAX_NAMED = 3
# One file per eye, or both squeezed into one: neither is what a tile, a receipt or a check of this farm is about.
STEREO = (
    "The scene is stereoscopic (multiview), so that a frame is more than one picture: switch off Stereoscopy in the "
    "Output properties and submit the scene once per eye, each with its own camera."
)


def uses_sequencer(scene: bpy.types.Scene) -> bool:
    """Whether the picture would come from the video sequencer instead of the camera."""
    editor = scene.sequence_editor
    strips = getattr(editor, "sequences", None) or getattr(editor, "strips", None) if editor else None
    return scene.render.use_sequencer and bool(strips)


def samples_of(scene: bpy.types.Scene) -> int:
    """Samples per pixel; 1 for engines that have no such number."""
    if scene.render.engine == "CYCLES":
        return int(scene.cycles.samples)
    if "EEVEE" in scene.render.engine:
        return int(scene.eevee.taa_render_samples)
    return 1


def passes_of(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> list[str]:
    """The passes that a render command writes for this layer (it never denoises, but renders what guides that)."""
    if scene.render.engine != "CYCLES":
        return ["Combined"]
    from cycles import engine

    with denoising.with_guides(scene):
        return list(dict.fromkeys(name for name, *_rest in engine.list_render_passes(scene, layer)))


def scripted_drivers() -> Iterator[str]:
    """Names of data whose drivers need Python, which is never run."""
    for collection in (bpy.data.objects, bpy.data.materials, bpy.data.meshes, bpy.data.node_groups, bpy.data.scenes,
                       bpy.data.shape_keys, bpy.data.armatures, bpy.data.cameras, bpy.data.lights, bpy.data.worlds):
        for item in collection:
            for curve in item.animation_data.drivers if item.animation_data else ():
                if curve.driver.type == "SCRIPTED" and not curve.driver.is_simple_expression:
                    yield item.name
                    break


def unsupported(scene: bpy.types.Scene) -> list[str]:
    """Why the farm's picture would not be Blender's, one sentence each."""
    reasons: list[str] = []
    if scene.render.engine != "CYCLES":
        reasons.append(f"The render engine is {scene.render.engine}; only Cycles renders without a display.")
    if scene.render.use_multiview:
        reasons.append(STEREO)
    if scene.render.use_freestyle:
        reasons.append("The scene draws Freestyle lines.")
    if uses_sequencer(scene):
        reasons.append("The picture comes from the video sequencer.")
    for name in simulations.unreadable_bakes(scene)[:MAX_NAMED]:
        reasons.append(f"The bake of {name!r} lies on disk and Blender cannot read it here: pack it into the file.")
    return reasons + compositing.foreign_scenes(scene)


def untileable(scene: bpy.types.Scene) -> list[str]:
    """Why a tile would not be a part of the whole frame, one sentence each."""
    if scene.render.engine != "CYCLES":
        return []
    counted = [layer.name for layer in scene.view_layers if layer.use and layer.cycles.pass_debug_sample_count]
    if counted and scene.cycles.use_adaptive_sampling:
        return [f"View layer {counted[0]!r} saves the pass Sample Count, which is scaled by what the whole frame needs."]
    return []


def warnings(scene: bpy.types.Scene) -> list[str]:
    """What the artist should know, though Blender alone would do the same."""
    sentences = denoising.warnings(scene)
    if scene.render.use_stamp:
        sentences.append("Metadata is burnt into the picture; it has the date of the rendering.")
    drivers = list(scripted_drivers())
    if drivers:
        rest = f" and {len(drivers) - MAX_NAMED} more" if len(drivers) > MAX_NAMED else ""
        named = ", ".join(drivers[:MAX_NAMED])
        sentences.append(f"Drivers of {named}{rest} need Python scripts, which are never run.")
    scripts = [text.name for text in bpy.data.texts if text.use_module]
    if scripts:
        sentences.append(f"The script {scripts[0]} would run when the file is opened; it is never run.")
    return sentences


def inspect(_arguments: dict[str, Any], _progress: Any) -> dict[str, Any]:
    """Everything about the active scene."""
    scene = bpy.context.scene
    render, image = scene.render, scene.render.image_settings
    width, height = full_size(scene)
    files = scene_files(loaded["root"], list(caches.cache_files(scene)), caches.unused_folders(scene))
    reasons = unsupported(scene)
    try:
        region, picture = border_rect(scene), picture_rect(scene)
    except Failure as failure:
        reasons.append(f"{failure.message[0].upper()}{failure.message[1:]}.")
        region = picture = {"x": 0, "y": 0, "width": width, "height": height}
    return {
        "savedWith": {"major": bpy.data.version[0], "minor": bpy.data.version[1]},
        "frameStart": scene.frame_start,
        "frameEnd": scene.frame_end,
        "frameStep": scene.frame_step,
        "frameCurrent": scene.frame_current,
        "framesPerSecond": render.fps / render.fps_base,
        "frameRate": {"fps": int(render.fps), "base": render.fps_base},
        "resolution": {"width": width, "height": height},
        "region": region,
        "picture": picture,
        "renderEngine": render.engine,
        "samples": samples_of(scene),
        "hasCamera": scene.camera is not None,
        "viewLayers": [
            {"name": layer.name, "passes": passes_of(scene, layer)} for layer in scene.view_layers if layer.use
        ],
        "usesCompositor": compositing.is_used(scene),
        "usesSequencer": uses_sequencer(scene),
        "usesDenoising": denoising.uses_denoising(scene),
        "canDenoise": denoising.can_denoise(),
        "usesMultiview": render.use_multiview,
        "outputFormat": {
            "fileFormat": image.file_format,
            "colorMode": image.color_mode,
            "colorDepth": image.color_depth,
        },
        "writableFormats": writable_formats(scene),
        "files": files,
        "missingFiles": [file for file in files if not file["exists"]],
        "unsupported": reasons,
        "untileable": untileable(scene),
        "unbaked": simulations.unbaked(scene),
        "warnings": warnings(scene),
    }
