# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's own compositor, fed from a file instead of from a render."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from .denoising import denoise_node, denoised
from .failure import Failure

# The output that has the picture as it was before denoising.
NOISY = "Noisy Image"


def runs(scene: bpy.types.Scene) -> bool:
    """Whether Blender would run the compositor."""
    return scene.use_nodes and scene.render.use_compositing and scene.node_tree is not None


def is_used(scene: bpy.types.Scene) -> bool:
    """Whether Blender would run the compositor, and it would have somewhere to put the result."""
    return runs(scene) and any(node.type == "COMPOSITE" for node in scene.node_tree.nodes)


def foreign_scenes(scene: bpy.types.Scene) -> list[str]:
    """A sentence for every node that wants the render of another scene."""
    if not is_used(scene):
        return []
    return [
        f"The compositor node {node.name!r} uses the render of another scene ({node.scene.name!r})."
        for node in readers(scene.node_tree)
        if node.scene not in (None, scene) and not node.mute
    ]


def readers(tree: bpy.types.NodeTree) -> Iterator[bpy.types.Node]:
    """The nodes that read the render."""
    for node in tree.nodes:
        if node.type == "R_LAYERS" or (node.type == "CRYPTOMATTE_V2" and node.source == "RENDER"):
            yield node


def output_of(scene: bpy.types.Scene, source: bpy.types.Node, name: str) -> bpy.types.NodeSocket | None:
    """What stands for the output that a Render Layers node calls `name`, where an Image node stands for it."""
    wanted = "Combined" if name in ("Image", NOISY) else name
    found = next((output for output in source.outputs if output.name == wanted), None)
    if name == "Image" and found is not None and denoised(scene, source.layer):
        return denoise_node(scene, source)
    return found


def empty_output(tree: bpy.types.NodeTree, kind: str) -> bpy.types.NodeSocket:
    """What Blender gives for a pass that was not rendered: nothing, in every channel."""
    node = tree.nodes.new("CompositorNodeValue" if kind == "VALUE" else "CompositorNodeRGB")
    node.outputs[0].default_value = 0.0 if kind == "VALUE" else (0.0, 0.0, 0.0, 0.0)
    return node.outputs[0]


def image_node(tree: bpy.types.NodeTree, image: bpy.types.Image, layer: str) -> bpy.types.Node | None:
    """An Image node that gives one view layer of the file, or None where the file has no such layer."""
    node = tree.nodes.new("CompositorNodeImage")
    node.image = image
    try:
        node.layer = layer
    except TypeError:
        tree.nodes.remove(node)
        return None
    return node


def replace_render_layers(scene: bpy.types.Scene, node: bpy.types.Node, image: bpy.types.Image) -> None:
    """Puts an Image node where a Render Layers node was; muted links stay muted."""
    tree = scene.node_tree
    outputs: dict[str, bpy.types.NodeSocket | None] = {}
    replacement = image_node(tree, image, node.layer)
    if replacement is not None:
        replacement.mute = node.mute
    for link in [link for link in tree.links if link.from_node == node]:
        source, target, muted = link.from_socket, link.to_socket, link.is_muted
        # Once for each output: denoising a frame is work.
        if replacement is not None and source.name not in outputs:
            outputs[source.name] = output_of(scene, replacement, source.name)
        tree.links.remove(link)
        new = tree.links.new(outputs.get(source.name) or empty_output(tree, source.type), target)
        new.is_muted = muted
    tree.nodes.remove(node)


def feed_from_file(scene: bpy.types.Scene, image: bpy.types.Image) -> None:
    """Makes the tree of this scene (a copy that is thrown away) read the file."""
    tree = scene.node_tree
    for node in list(readers(tree)):
        if node.type == "R_LAYERS":
            replace_render_layers(scene, node, image)
        else:
            node.source = "IMAGE"
            node.image = image


def pass_through(scene: bpy.types.Scene, image: bpy.types.Image, keep: bool) -> None:
    """
    Carries the picture to the output where the tree (a copy that is thrown away) does not: the scene has none, or one
    without a Composite node, which is kept for its files.
    """
    scene.use_nodes = True
    tree = scene.node_tree
    if not keep:
        tree.nodes.clear()
    layers = [layer.name for layer in scene.view_layers if layer.use]
    source = image_node(tree, image, layers[0]) if layers else None
    output = output_of(scene, source, "Image") if source is not None else None
    if output is None:
        raise Failure("RENDER_FAILED", "the merged frame has no picture of the first view layer", invalidExr=True)
    tree.links.new(output, tree.nodes.new("CompositorNodeComposite").inputs["Image"])
