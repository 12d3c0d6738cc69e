# SPDX-License-Identifier: GPL-3.0-or-later
"""
Denoising, on the merged frame. Cycles denoises at the end of a render, where a tile has no neighbours; the
compositor's Denoise node is the same library with the same guides, and runs over the whole frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import bpy

from .overriding import overridden

# The passes that guide the denoiser, by what the scene asks of Cycles (`denoising_input_passes`).
GUIDES = {
    "RGB": {},
    "RGB_ALBEDO": {"Albedo": "Denoising Albedo"},
    "RGB_ALBEDO_NORMAL": {"Albedo": "Denoising Albedo", "Normal": "Denoising Normal"},
}


def can_denoise() -> bool:
    """Whether this build has OpenImageDenoise."""
    try:
        import _cycles
    except ImportError:
        return False
    return bool(getattr(_cycles, "with_openimagedenoise", False))


def uses_denoising(scene: bpy.types.Scene) -> bool:
    """Whether Cycles would denoise, were it able to."""
    return scene.render.engine == "CYCLES" and bool(scene.cycles.use_denoising)


def denoised(scene: bpy.types.Scene, layer: str | None = None) -> bool:
    """Whether the farm denoises this view layer, or, without a name, any."""
    if not uses_denoising(scene) or not can_denoise():
        return False
    return any(one.use and one.cycles.use_denoising and layer in (None, one.name) for one in scene.view_layers)


def warnings(scene: bpy.types.Scene) -> list[str]:
    """What the artist should know before paying."""
    if not uses_denoising(scene):
        return []
    if not can_denoise():
        return ["The scene asks for denoising, but this build of Blender has no denoiser: it stays noisy."]
    if scene.cycles.denoiser != "OPENIMAGEDENOISE":
        return [f"The scene asks for the denoiser {scene.cycles.denoiser}; OpenImageDenoise is used."]
    return []


@contextmanager
def with_guides(scene: bpy.types.Scene) -> Iterator[None]:
    """Cycles does not denoise; where the merged frame will be denoised, it renders what guides that."""
    guided = [layer for layer in scene.view_layers if denoised(scene, layer.name)]
    with ExitStack() as stack:
        stack.enter_context(overridden(scene.cycles, use_denoising=False))
        for layer in guided:
            stack.enter_context(overridden(layer.cycles, denoising_store_passes=True))
        yield


def denoise_node(scene: bpy.types.Scene, source: bpy.types.Node) -> bpy.types.NodeSocket:
    """The picture of an Image node (one view layer of the merged frame) after a Denoise node set as the scene is."""
    tree, cycles = source.id_data, scene.cycles
    node = tree.nodes.new("CompositorNodeDenoise")
    node.prefilter = cycles.denoising_prefilter
    node.use_hdr = True
    if hasattr(node, "quality") and hasattr(cycles, "denoising_quality"):
        node.quality = cycles.denoising_quality
    picture = next(output for output in source.outputs if output.name == "Combined")
    tree.links.new(picture, node.inputs["Image"])
    for name, guide in GUIDES[cycles.denoising_input_passes].items():
        output = next((output for output in source.outputs if output.name == guide), None)
        if output is not None:
            tree.links.new(output, node.inputs[name])
    return node.outputs["Image"]
