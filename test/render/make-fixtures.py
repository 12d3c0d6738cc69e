# SPDX-License-Identifier: GPL-3.0-or-later
"""Small scenes for the tests: blender -b --factory-startup --python make-fixtures.py -- FOLDER."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import bpy

OUT = sys.argv[sys.argv.index("--") + 1]
# No tile grid of the tests divides both evenly.
WIDTH, HEIGHT, SAMPLES = 97, 55, 8


def material(name: str, color: tuple[float, float, float], emission: float = 0.0) -> bpy.types.Material:
    result = bpy.data.materials.new(name)
    result.use_nodes = True
    shader = result.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*color, 1)
    shader.inputs["Roughness"].default_value = 0.3
    if emission:
        shader.inputs["Emission Strength"].default_value = emission
        key = "Emission" if "Emission" in shader.inputs else "Emission Color"
        shader.inputs[key].default_value = (*color, 1)
    return result


def base() -> bpy.types.Scene:
    """Flat-shaded blocks, one of them moving, one glowing; a camera with depth of field."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_plane_add(size=20)
    bpy.context.object.data.materials.append(material("ground", (0.4, 0.4, 0.45)))
    for number in range(3):
        bpy.ops.mesh.primitive_cube_add(size=1.2, location=(number * 2 - 2, number * 0.7, 0.7), rotation=(0, 0, number))
        color = [(0.8, 0.2, 0.1), (0.1, 0.6, 0.3), (0.9, 0.8, 0.2)][number]
        bpy.context.object.data.materials.append(material(f"block {number}", color, 6.0 if number == 2 else 0.0))
        bpy.context.object.name = f"block {number}"
    block = bpy.data.objects["block 0"]
    block.keyframe_insert("location", frame=1)
    block.location.z = 2.5
    block.keyframe_insert("location", frame=5)
    bpy.ops.object.light_add(type="AREA", location=(3, -4, 6), rotation=(0.6, 0.3, 0))
    bpy.context.object.data.energy = 500
    bpy.ops.object.camera_add(location=(0, -9, 4), rotation=(1.2, 0, 0))
    scene.camera = bpy.context.object
    scene.camera.data.dof.use_dof = True
    scene.camera.data.dof.focus_distance = 9
    scene.world = bpy.data.worlds.new("world")
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    scene.render.use_motion_blur = True
    scene.cycles.samples = SAMPLES
    scene.cycles.use_denoising = False
    scene.frame_start, scene.frame_end = 1, 5
    return scene


def save(name: str) -> None:
    path = os.path.join(OUT, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=path, compress=False)


def plain() -> None:
    base()
    save("plain.blend")
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(OUT, "compressed.blend"), compress=True)
    bpy.context.scene.cycles.use_denoising = True
    save("denoised.blend")


def steady() -> None:
    """Each sample is the same however many there are, which blue noise and adaptive sampling would not give."""
    cycles = base().cycles
    cycles.use_adaptive_sampling = False
    # The default of Blender 3, and what it was replaced by.
    cycles.sampling_pattern = "TABULATED_SOBOL" if bpy.app.version >= (4, 0, 0) else "PROGRESSIVE_MULTI_JITTER"
    save("steady.blend")


def composite() -> None:
    """Glare, blur, colour balance; alpha, depth and normals from the render; a muted link and a muted node."""
    scene = base()
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_mist = True
    scene.render.film_transparent = True
    bpy.data.objects["Plane"].hide_render = True
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()

    def add(kind: str, **values: object) -> bpy.types.Node:
        node = tree.nodes.new(f"CompositorNode{kind}")
        for name, value in values.items():
            setattr(node, name, value)
        return node

    layers = add("RLayers")
    glare = add("Glare", glare_type="FOG_GLOW", quality="HIGH", threshold=0.5, size=6)
    blur = add("Blur", size_x=4, size_y=3, filter_type="GAUSS")
    balance = add("ColorBalance", lift=(1.02, 1, 0.98), gain=(1.1, 1, 0.9))
    over = add("AlphaOver")
    over.inputs[1].default_value = (0.1, 0.2, 0.4, 1)
    normalize, mix, depth_mix = add("Normalize"), add("MixRGB", blend_type="MULTIPLY"), add("MixRGB")
    alpha_mix, output = add("MixRGB", blend_type="SCREEN"), add("Composite")
    mix.inputs[0].default_value, depth_mix.inputs[0].default_value = 0.3, 0.2
    alpha_mix.inputs[0].default_value = 0.15
    add("OutputFile", base_path="/out/never")
    lens = add("Lensdist")
    lens.inputs["Dispersion"].default_value = 0.05
    reroute = tree.nodes.new("NodeReroute")
    link = tree.links.new
    link(layers.outputs["Image"], reroute.inputs[0])
    link(reroute.outputs[0], glare.inputs["Image"])
    link(glare.outputs["Image"], balance.inputs["Image"])
    link(layers.outputs["Image"], blur.inputs["Image"])
    link(balance.outputs["Image"], mix.inputs[1])
    link(layers.outputs["Normal"], mix.inputs[2])
    link(mix.outputs["Image"], depth_mix.inputs[1])
    link(layers.outputs["Depth"], normalize.inputs[0])
    link(normalize.outputs[0], depth_mix.inputs[2])
    link(depth_mix.outputs["Image"], alpha_mix.inputs[1])
    link(layers.outputs["Alpha"], alpha_mix.inputs[2])
    link(alpha_mix.outputs["Image"], lens.inputs["Image"])
    link(lens.outputs["Image"], over.inputs[2])
    muted = link(layers.outputs["Mist"], over.inputs[0])
    muted.is_muted = True
    link(over.outputs["Image"], output.inputs["Image"])
    save("composite.blend")
    scene.render.use_border = scene.render.use_crop_to_border = True
    scene.render.border_min_x, scene.render.border_max_x = 0.13, 0.81
    scene.render.border_min_y, scene.render.border_max_y = 0.22, 0.93
    save("composite-crop.blend")
    scene.render.use_crop_to_border = False
    save("composite-border.blend")
    scene.render.use_border = False
    scene.render.resolution_x, scene.render.resolution_y = 193, 109
    scene.render.resolution_percentage = 50
    translate = add("Translate", use_relative=False)
    translate.inputs["X"].default_value = 12
    link(over.outputs["Image"], translate.inputs["Image"])
    link(translate.outputs["Image"], output.inputs["Image"])
    save("composite-percent.blend")


def framing() -> None:
    """The three ways in which a picture is not the full frame."""
    scene = base()
    scene.render.use_border = scene.render.use_crop_to_border = True
    scene.render.border_min_x, scene.render.border_max_x = 0.13, 0.81
    scene.render.border_min_y, scene.render.border_max_y = 0.22, 0.93
    scene.render.film_transparent = True
    save("border-crop.blend")
    scene.render.use_crop_to_border = False
    save("border.blend")
    scene.render.use_border = False
    scene.render.resolution_x, scene.render.resolution_y = 193, 109
    scene.render.resolution_percentage = 50
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    scene.render.image_settings.color_depth = "16"
    save("percent.blend")


def layers() -> None:
    """Two view layers, no tree; then a tree that mixes both; then the same tree switched off."""
    scene = base()
    second = scene.view_layers.new("Front.matte")
    second.use_pass_diffuse_color = True
    scene.view_layers[0].use_pass_vector = False
    bpy.data.objects["block 1"].hide_render = False
    collection = bpy.data.collections.new("blocks")
    scene.collection.children.link(collection)
    collection.objects.link(bpy.data.objects["block 1"])
    scene.collection.objects.unlink(bpy.data.objects["block 1"])
    second.layer_collection.children["blocks"].exclude = True
    unused = scene.view_layers.new("unused")
    unused.use = False
    save("layers.blend")
    scene.use_nodes = True
    tree = scene.node_tree
    first, output = tree.nodes["Render Layers"], tree.nodes["Composite"]
    other = tree.nodes.new("CompositorNodeRLayers")
    other.layer = "Front.matte"
    gone = tree.nodes.new("CompositorNodeRLayers")
    gone.layer = "unused"
    mix, add = tree.nodes.new("CompositorNodeMixRGB"), tree.nodes.new("CompositorNodeMixRGB")
    add.blend_type = "ADD"
    tree.links.new(first.outputs["Image"], mix.inputs[1])
    tree.links.new(other.outputs["DiffCol"], mix.inputs[2])
    tree.links.new(mix.outputs[0], add.inputs[1])
    tree.links.new(gone.outputs["Image"], add.inputs[2])
    tree.links.new(add.outputs[0], output.inputs["Image"])
    save("layers-mixed.blend")
    scene.render.use_compositing = False
    save("layers-tree-off.blend")


def cryptomatte() -> None:
    scene = base()
    scene.view_layers[0].use_pass_cryptomatte_object = True
    scene.use_nodes = True
    tree = scene.node_tree
    node = tree.nodes.new("CompositorNodeCryptomatteV2")
    node.matte_id = "block 1,block 2"
    tree.links.new(tree.nodes["Render Layers"].outputs["Image"], node.inputs["Image"])
    tree.links.new(node.outputs["Image"], tree.nodes["Composite"].inputs["Image"])
    save("cryptomatte.blend")


def linked() -> None:
    """A library and a texture of the library, and a texture that lies outside the folder."""
    base()
    os.makedirs(os.path.join(OUT, "linked", "textures"), exist_ok=True)
    image = bpy.data.images.new("checker", 8, 8)
    image.pixels = [value for i in range(64) for value in ((i % 3) / 2, (i % 5) / 4, (i // 8 % 2), 1.0)]
    image.filepath_raw = os.path.join(OUT, "linked", "textures", "checker.png")
    image.file_format = "PNG"
    image.save()
    paint = bpy.data.materials["block 1"]
    node = paint.node_tree.nodes.new("ShaderNodeTexImage")
    node.image = bpy.data.images.load(image.filepath_raw)
    paint.node_tree.links.new(node.outputs["Color"], paint.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    save("linked/parts/block.blend")
    bpy.ops.file.make_paths_relative()
    save("linked/parts/block.blend")
    scene = base()
    bpy.data.objects.remove(bpy.data.objects["block 1"])
    save("linked/scene.blend")
    with bpy.data.libraries.load(os.path.join(OUT, "linked/parts/block.blend"), link=True, relative=True) as (_, to):
        to.objects = ["block 1"]
    scene.collection.objects.link(to.objects[0])
    save("linked/scene.blend")
    outside = bpy.data.images.new("outside", 4, 4)
    outside.source = "FILE"
    outside.filepath = "//../outside.png"
    outside.use_fake_user = True
    save("linked/climbing.blend")


def refused() -> None:
    """What the farm has to say no to."""
    scene = base()
    camera = scene.camera
    scene.camera = None
    save("no-camera.blend")
    scene.camera = camera
    scene.render.engine = "BLENDER_EEVEE_NEXT" if bpy.app.version >= (4, 2, 0) else "BLENDER_EEVEE"
    save("eevee.blend")
    scene = base()
    scene.render.use_multiview = True
    save("stereo.blend")
    scene = base()
    other = bpy.data.scenes.new("other")
    other.camera = scene.camera
    scene.use_nodes = True
    node = scene.node_tree.nodes.new("CompositorNodeRLayers")
    node.scene = other
    mix = scene.node_tree.nodes.new("CompositorNodeMixRGB")
    scene.node_tree.links.new(node.outputs["Image"], mix.inputs[2])
    scene.node_tree.links.new(scene.node_tree.nodes["Render Layers"].outputs["Image"], mix.inputs[1])
    scene.node_tree.links.new(mix.outputs[0], scene.node_tree.nodes["Composite"].inputs["Image"])
    save("two-scenes.blend")


def shaken(name: str) -> bpy.types.Object:
    """A ball that is dented anew at every evaluation: the texture "Noise" draws its numbers from a clock."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=24, ring_count=12, location=(0, -1, 1.5))
    ball = bpy.context.object
    ball.name = name
    modifier = ball.modifiers.new("dents", "DISPLACE")
    modifier.texture = bpy.data.textures.new("dents", "NOISE")
    modifier.strength = 0.6
    return ball


def unsteady() -> None:
    """Scenes that are another picture at every render, and one that only looks it: no script is needed for any."""
    base()
    shaken("ball")
    save("noise-displaced.blend")
    base()
    # Places on a ball that is not rendered move a block that is; each vertex has only four places to be in.
    ball = shaken("dice")
    ball.hide_render = True
    ball.modifiers["dents"].strength = 3
    driver = bpy.data.objects["block 1"].driver_add("location", 2).driver
    driver.type = "SUM"
    for number in range(4):
        mark = bpy.data.objects.new(f"mark {number}", None)
        bpy.context.scene.collection.objects.link(mark)
        mark.parent, mark.parent_type = ball, "VERTEX_3"
        mark.parent_vertices = [50 * number + vertex for vertex in (20, 35, 50)]
        variable = driver.variables.new()
        variable.type = "TRANSFORMS"
        variable.targets[0].id, variable.targets[0].transform_type = mark, "LOC_Z"
    save("noise-driven.blend")
    base()
    # Smooth normals of a mesh of this size are added up by several threads, in any order.
    bpy.ops.mesh.primitive_uv_sphere_add(segments=256, ring_count=128, radius=1.5, location=(0, -1, 1.5))
    bpy.ops.object.shade_smooth()
    save("smooth.blend")


def hostile() -> None:
    """Everything that Blender runs on opening, were it allowed to: it would leave a file in the output folder."""
    base()
    text = bpy.data.texts.new("evil.py")
    text.write("open('/out/evil-text', 'w').write('x')\n")
    text.use_module = True
    curve = bpy.data.objects["block 0"].driver_add("location", 0)
    curve.driver.type = "SCRIPTED"
    curve.driver.expression = "open('/out/evil-driver', 'w').write('x')"
    handler = bpy.data.texts.new("handler.py")
    handler.write("import bpy\nbpy.app.handlers.load_post.append(lambda *_: open('/out/evil-handler', 'w'))\n")
    handler.use_module = True
    save("hostile.blend")


MAKERS: list[Callable[[], None]] = [plain, steady, composite, framing, layers, cryptomatte, linked, refused, unsteady, hostile]
for make in MAKERS:
    make()
