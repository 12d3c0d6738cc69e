# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes that mean harm: blender -b --factory-startup --python make-scenes.py -- FOLDER OUTSIDE FACTS.

OUTSIDE is a folder of the host that no scene may read or write; FACTS is JSON with what the attacks aim at.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys

import bpy

OUT, OUTSIDE, FACTS = sys.argv[sys.argv.index("--") + 1 :]
ATTACKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "attacks.py")
WIDTH, HEIGHT = 64, 36


def base() -> bpy.types.Scene:
    """A cube, a lamp, a camera."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_cube_add(size=2)
    bpy.context.object.name = "cube"
    bpy.ops.object.light_add(type="SUN", rotation=(0.6, 0.3, 0))
    bpy.ops.object.camera_add(location=(0, -8, 3), rotation=(1.2, 0, 0))
    scene.camera = bpy.context.object
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    scene.cycles.samples = 4
    scene.cycles.use_denoising = False
    scene.frame_start, scene.frame_end = 1, 3
    return scene


def save(name: str) -> str:
    """Each scene lies two folders below the top, so that climbing out of it ends in a place of the test's own."""
    path = os.path.join(OUT, "scenes", name, f"{name}.blend")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=path, compress=False, relative_remap=False)
    return path


def script(name: str, call: str) -> None:
    """A scene whose text block runs one attack when the file is opened with scripts on."""
    base()
    text = bpy.data.texts.new("attack.py")
    with open(ATTACKS, encoding="utf-8") as file:
        text.write(file.read())
    text.write(f"\n{call}\n")
    text.use_module = True
    save(name)


def drivers() -> None:
    """A driver that calls the system; one through a function that a text block puts into the drivers' namespace."""
    base()
    cube = bpy.data.objects["cube"]
    evil = os.path.join(OUTSIDE, "driver-was-here")
    for index, expression in enumerate(
        [
            f"__import__('os').system('touch {evil} /out/driver-was-here')",
            "harmless(frame)",
            "[c for c in ().__class__.__base__.__subclasses__() if 'Popen' in c.__name__][0]('id')",
        ]
    ):
        driver = cube.driver_add("location", index).driver
        driver.type = "SCRIPTED"
        driver.expression = expression
    text = bpy.data.texts.new("namespace.py")
    text.write(
        "import bpy, os\n"
        f"bpy.app.driver_namespace['harmless'] = lambda frame: os.system('touch {evil} /out/driver-was-here')\n"
    )
    text.use_module = True
    save("drivers")


def writes() -> None:
    """Every setting of a scene that names a place to write to."""
    scene = base()
    evil = os.path.join(OUTSIDE, "written-")
    scene.render.filepath = evil
    scene.use_nodes = True
    tree = scene.node_tree
    layers = tree.nodes["Render Layers"]
    for place in [evil, "//../../outside/written-", "/scene/written-", "/usr/written-"]:
        node = tree.nodes.new("CompositorNodeOutputFile")
        node.base_path = place
        tree.links.new(layers.outputs["Image"], node.inputs[0])
    cube = bpy.data.objects["cube"]
    cube.modifiers.new("cloth", "CLOTH")
    cache = cube.modifiers["cloth"].point_cache
    cache.use_disk_cache = True
    cache.use_external = True
    cache.filepath = evil
    save("writes")


def climbing() -> None:
    """Libraries and images that exist on the host, outside the folder of the scene."""
    for name in ["library", "copy"]:
        base()
        bpy.data.objects["cube"].name = f"secret {name}"
        bpy.ops.wm.save_as_mainfile(filepath=os.path.join(OUTSIDE, f"{name}.blend"), compress=False)
    image = bpy.data.images.new("secret", 8, 8)
    image.pixels = [1.0, 0.0, 1.0, 1.0] * 64
    image.filepath_raw = os.path.join(OUTSIDE, "secret.png")
    image.file_format = "PNG"
    image.save()
    scene = base()
    save("climbing")
    for name, relative in [("library", True), ("copy", False)]:
        path = os.path.join(OUTSIDE, f"{name}.blend")
        with bpy.data.libraries.load(path, link=True, relative=relative) as (_, to):
            to.objects = [f"secret {name}"]
        scene.collection.objects.link(to.objects[0])
    save("climbing")


def linked_out() -> None:
    """A picture in the scene's folder that is a symlink to one outside."""
    base()
    path = save("symlink")
    textures = os.path.join(os.path.dirname(path), "textures")
    os.makedirs(textures, exist_ok=True)
    os.symlink(os.path.join(OUTSIDE, "secret.png"), os.path.join(textures, "secret.png"))
    image = bpy.data.images.load(os.path.join(textures, "secret.png"))
    image.filepath = "//textures/secret.png"
    image.use_fake_user = True
    os.symlink("/proc/self/environ", os.path.join(textures, "environ.png"))
    environ = bpy.data.images.new("environ", 4, 4)
    environ.source = "FILE"
    environ.filepath = "//textures/environ.png"
    environ.use_fake_user = True
    save("symlink")


def bombs() -> None:
    """Memory, one kind per scene; shown only when rendered, so that loading is harmless."""
    base()
    cube = bpy.data.objects["cube"]
    for number in range(3):
        modifier = cube.modifiers.new(f"smooth {number}", "SUBSURF")
        modifier.levels, modifier.render_levels = 0, 6
    save("subdivision-bomb")
    base()
    cube = bpy.data.objects["cube"]
    for number in range(4):
        modifier = cube.modifiers.new(f"array {number}", "ARRAY")
        modifier.show_viewport = False
        modifier.count = 100
    save("array-bomb")
    base()
    cube = bpy.data.objects["cube"]
    material = bpy.data.materials.new("paint")
    material.use_nodes = True
    node = material.node_tree.nodes.new("ShaderNodeTexImage")
    image = bpy.data.images.new("enormous", 4, 4, float_buffer=True)
    image.generated_width = image.generated_height = 30_000
    node.image = image
    material.node_tree.links.new(node.outputs["Color"], material.node_tree.nodes["Principled BSDF"].inputs["Base Color"])
    cube.data.materials.append(material)
    save("texture-bomb")


def large() -> None:
    """A picture of 100,000 pixels a side; and one of moderate size, of noise that does not compress."""
    scene = base()
    scene.render.resolution_x = scene.render.resolution_y = 50_000
    scene.render.resolution_percentage = 200
    save("resolution")
    scene = base()
    scene.render.resolution_x, scene.render.resolution_y = 2000, 1500
    scene.cycles.samples = 1
    world = bpy.data.worlds.new("world")
    scene.world = world
    world.use_nodes = True
    noise = world.node_tree.nodes.new("ShaderNodeTexWhiteNoise")
    coordinates = world.node_tree.nodes.new("ShaderNodeTexCoord")
    world.node_tree.links.new(coordinates.outputs["Generated"], noise.inputs["Vector"])
    world.node_tree.links.new(noise.outputs["Color"], world.node_tree.nodes["Background"].inputs["Color"])
    scene.view_layers[0].use_pass_environment = True
    bpy.data.objects.remove(bpy.data.objects["cube"])
    save("output-bomb")


def endless_load() -> None:
    """
    A grid smoothed 30,000 times by each of 32 modifiers: a sound file, and half an hour of work on opening it. Blender
    does that work on saving too, so the file is made with 7 times, and the number changed in it.
    """
    base()
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=300, y_subdivisions=300)
    grid = bpy.context.object
    factor, times, count = 0.4375, 7, 32
    for number in range(count):
        modifier = grid.modifiers.new(f"smooth {number}", "SMOOTH")
        modifier.factor, modifier.iterations = factor, times
    path = save("endless-load")
    with open(path, "rb") as file:
        data = file.read()
    # A float, the name of a vertex group, flags, and the times in two bytes.
    pattern = re.compile(re.escape(struct.pack("<f", factor)) + b"(.{66})" + struct.pack("<h", times), re.DOTALL)
    data, changed = pattern.subn(lambda match: struct.pack("<f", factor) + match[1] + struct.pack("<h", 30_000), data)
    if changed != count:
        raise SystemExit(f"{changed} modifiers found, not {count}")
    with open(path, "wb") as file:
        file.write(data)


base()
save("good")
drivers()
climbing()
linked_out()
writes()
bombs()
large()
endless_load()
script("run-escape", f"escape({json.loads(FACTS)!r})")
for attack in ["fork_bomb", "threads_bomb", "memory", "memory_without_name", "scratch", "one_large_file", "many_files",
               "many_small_files", "deleted_files", "endless", "kill_everything"]:
    script(f"run-{attack.replace('_', '-')}", f"{attack}()")
