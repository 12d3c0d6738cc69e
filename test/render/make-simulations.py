# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes with simulations, baked and not, into the folder given after `--`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import bpy

FRAMES = 6
FOLDER = sys.argv[sys.argv.index("--") + 1]

Made = tuple[Any, bpy.types.Object]


def stage() -> None:
    """An empty scene of six frames with a camera."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 4
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = False
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.render.resolution_x, scene.render.resolution_y = 48, 32
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (0, -9, 2), (1.4, 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.world = bpy.data.worlds.new("World")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs[0].default_value = (0.2, 0.5, 1, 1)


def add(name: str, grid: bool = False) -> bpy.types.Object:
    """A cube, or a cloth-like grid."""
    if grid:
        bpy.ops.mesh.primitive_grid_add(x_subdivisions=6, y_subdivisions=6, size=3, location=(0, 0, 1))
    else:
        bpy.ops.mesh.primitive_cube_add(location=(0, 0, 1))
    bpy.context.object.name = name
    return bpy.context.object


def save(name: str) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(FOLDER, f"{name}.blend"))


def cloth() -> Made:
    item = add("Flag", grid=True)
    return item.modifiers.new("Cloth", "CLOTH").point_cache, item


def soft() -> Made:
    item = add("Jelly")
    return item.modifiers.new("Softbody", "SOFT_BODY").point_cache, item


def rigid() -> Made:
    item = add("Brick")
    bpy.ops.rigidbody.object_add(type="ACTIVE")
    return bpy.context.scene.rigidbody_world.point_cache, item


def particles() -> Made:
    spark = add("Spark")
    # Out of sight itself.
    spark.location.y = -50
    item = add("Fountain")
    item.modifiers.new("Sparks", "PARTICLE_SYSTEM")
    system = item.particle_systems[0]
    system.settings.frame_end = 4
    system.settings.count = 30
    system.settings.particle_size = 0.2
    # Cycles shows particles as objects or not at all.
    system.settings.render_type = "OBJECT"
    system.settings.instance_object = spark
    return system.point_cache, item


def hair() -> Made:
    cache, item = particles()
    item.particle_systems[0].settings.type = "HAIR"
    item.particle_systems[0].use_hair_dynamics = True
    return cache, item


def paint() -> Made:
    item = add("Canvas", grid=True)
    item.modifiers.new("Paint", "DYNAMIC_PAINT")
    bpy.ops.dpaint.type_toggle(type="CANVAS")
    surface = item.modifiers[0].canvas_settings.canvas_surfaces[0]
    surface.surface_type = "DISPLACE"
    brush = add("Brush")
    brush.modifiers.new("Paint", "DYNAMIC_PAINT")
    bpy.ops.dpaint.type_toggle(type="BRUSH")
    return surface.point_cache, item


def bake(made: Made) -> None:
    cache, item = made
    cache.frame_end = FRAMES
    with bpy.context.temp_override(scene=bpy.context.scene, active_object=item, object=item, point_cache=cache):
        bpy.ops.ptcache.bake(bake=True)
    assert cache.is_baked


def on_disk(name: str, make: Callable[[], Made]) -> None:
    """Blender needs to know the name of the file before it can lay a cache beside it."""
    stage()
    made = make()
    save(name)
    made[0].use_disk_cache = True
    bake(made)
    save(name)


def fluid(name: str, cache_type: str, baked: bool) -> None:
    stage()
    save(name)
    domain = add("Domain")
    domain.scale = (2, 2, 2)
    modifier = domain.modifiers.new("Fluid", "FLUID")
    modifier.fluid_type = "DOMAIN"
    settings = modifier.domain_settings
    settings.domain_type = "LIQUID"
    settings.use_mesh = True
    settings.resolution_max = 12
    settings.cache_type = cache_type
    settings.cache_frame_end = FRAMES
    settings.cache_directory = f"//{name}-cache"
    drop = add("Drop").modifiers.new("Fluid", "FLUID")
    drop.fluid_type = "FLOW"
    drop.flow_settings.flow_type = "LIQUID"
    if baked:
        with bpy.context.temp_override(scene=bpy.context.scene, active_object=domain, object=domain):
            bpy.ops.fluid.bake_all()
    save(name)


def zone(name: str, target: str, baked: bool) -> None:
    """A cube that a simulation zone moves on by a little in every frame."""
    stage()
    save(name)
    item = add("Snail")
    modifier = item.modifiers.new("Nodes", "NODES")
    tree = bpy.data.node_groups.new("Zone", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    given, result = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    begin, end = tree.nodes.new("GeometryNodeSimulationInput"), tree.nodes.new("GeometryNodeSimulationOutput")
    begin.pair_with_output(end)
    move = tree.nodes.new("GeometryNodeTransform")
    move.inputs["Translation"].default_value = (0.3, 0, 0)
    tree.links.new(given.outputs[0], begin.inputs["Geometry"])
    tree.links.new(begin.outputs["Geometry"], move.inputs[0])
    tree.links.new(move.outputs[0], end.inputs["Geometry"])
    tree.links.new(end.outputs["Geometry"], result.inputs[0])
    modifier.node_group = tree
    modifier.bake_target = target
    if baked:
        bpy.ops.object.geometry_node_bake_single(
            session_uid=item.session_uid, modifier_name=modifier.name, bake_id=modifier.bakes[0].bake_id
        )
    save(name)


def calm() -> None:
    """Everything that looks like a simulation and is none."""
    stage()
    combed = add("Combed")
    combed.modifiers.new("Hair", "PARTICLE_SYSTEM")
    combed.particle_systems[0].settings.type = "HAIR"
    resting = add("Resting")
    resting.modifiers.new("Dust", "PARTICLE_SYSTEM")
    resting.particle_systems[0].settings.physics_type = "NO"
    add("Ground")
    bpy.ops.rigidbody.object_add(type="PASSIVE")
    led = add("Led")
    bpy.ops.rigidbody.object_add(type="ACTIVE")
    led.rigid_body.kinematic = True
    off = add("Off", grid=True).modifiers.new("Cloth", "CLOTH")
    off.show_render = False
    save("calm")
    # In another scene, which this one does not show.
    bpy.ops.scene.new(type="EMPTY")
    cloth()
    bpy.context.window.scene = bpy.data.scenes["Scene"]
    save("other-scene")


def main() -> None:
    for make in (cloth, soft, rigid, particles, hair, paint):
        stage()
        make()
        save(make.__name__)
    for make in (cloth, rigid, particles):
        stage()
        bake(make())
        save(f"{make.__name__}-baked")
    # Not rigid bodies: Blender itself breaks down when their cache is set to disk from Python.
    for make in (cloth, particles, paint):
        on_disk(f"{make.__name__}-disk", make)
    calm()
    if bpy.app.version >= (4, 3):
        zone("zone", "PACKED", baked=False)
        zone("zone-baked", "PACKED", baked=True)
        zone("zone-disk", "DISK", baked=True)
    if "fluids" in sys.argv:
        fluid("fluid", "ALL", baked=False)
        fluid("fluid-replay", "REPLAY", baked=False)
        fluid("fluid-disk", "ALL", baked=True)


main()
