# SPDX-License-Identifier: GPL-3.0-or-later
"""File Output nodes, honest and hostile ones: blender -b SCENE --python make-file-outputs.py -- FOLDER."""

from __future__ import annotations

import os
import sys

import bpy

OUT = sys.argv[sys.argv.index("--") + 1]


def build(base_path: str, slots: list[str], layered: str) -> None:
    """A tree that blurs, with one node that writes single files and one that writes all layers into one."""
    scene = bpy.context.scene
    scene.view_layers[0].use_pass_z = True
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    layers, blur = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeBlur")
    blur.size_y = 3
    # Animated: a frame that is composed as another one looks different.
    for frame, width in ((1, 2), (2, 8)):
        blur.size_x = width
        blur.keyframe_insert("size_x", frame=frame)
    output = tree.nodes.new("CompositorNodeComposite")
    tree.links.new(layers.outputs["Image"], blur.inputs["Image"])
    tree.links.new(blur.outputs["Image"], output.inputs["Image"])
    single = tree.nodes.new("CompositorNodeOutputFile")
    single.base_path = base_path
    single.format.file_format = "PNG"
    single.file_slots.clear()
    for slot in slots:
        single.file_slots.new(slot)
        tree.links.new(blur.outputs["Image"], single.inputs[-1])
    many = tree.nodes.new("CompositorNodeOutputFile")
    many.format.file_format = "OPEN_EXR_MULTILAYER"
    many.format.color_depth = "32"
    many.base_path = layered
    many.layer_slots.clear()
    for name, socket in (("beauty", "Image"), ("far", "Depth")):
        many.layer_slots.new(name)
        tree.links.new(layers.outputs[socket], many.inputs[-1])


def save(name: str) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(OUT, name), compress=False)


build("//renders/single", ["beauty", "shots/part_###_of_3"], "//renders/layers_")
save("outputs.blend")
build("/../../../etc/cron.d/", ["../../../escape", "..", "a\nb", "C:\\windows\\system", "beauty", "beauty"], "//../../up")
save("hostile-outputs.blend")
