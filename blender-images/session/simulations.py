# SPDX-License-Identifier: GPL-3.0-or-later
"""
Simulations: what needs the frames before, and the caches that make up for them. Any node may get any frame, so only
what is baked can be rendered by a farm (docs/decisions/what-cannot-be-tiled.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypedDict

import bpy

from .files import absolute

# Particles of these kinds go where the last frame left them; the others follow from the frame number alone.
MOVED_BY_PHYSICS = {"NEWTON", "BOIDS", "FLUID"}
# As in platform/render/session/replies.ts: whoever has more than these bakes all at once.
MAX_UNBAKED = 1000
# No file can lie below a device: nothing is written where Blender is sent there.
NOWHERE = "/dev/null/bake"

# Where the bakes came from that are in memory now; Blender has forgotten it.
packed_from: list[str] = []


class Unbaked(TypedDict):
    """As in platform/render/runtime.ts."""

    object: str
    kind: str
    firstFrame: int


def is_animated(item: bpy.types.ID, path: str) -> bool:
    """Whether this property changes over time."""
    animation = item.animation_data
    if animation is None:
        return False
    # Later Blenders have actions without such a list; what is in one may be anything then.
    curves = getattr(animation.action, "fcurves", None) if animation.action else []
    return curves is None or any(curve.data_path == path for curve in (*curves, *animation.drivers))


def rendered_objects(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """
    What may have a say in the picture: the scene's objects, those of the scenes behind it, what they instance, and
    what is in no scene at all and only referred to.
    """
    scenes = [scene]
    while scenes[-1].background_set and scenes[-1].background_set not in scenes:
        scenes.append(scenes[-1].background_set)
    placed = {item for other in bpy.data.scenes for item in other.objects}
    waiting = [item for one in scenes for item in one.objects]
    waiting += [item for item in bpy.data.objects if item not in placed and item.users > 0]
    found: dict[bpy.types.Object, None] = {}
    while waiting:
        item = waiting.pop()
        if item in found:
            continue
        found[item] = None
        if item.instance_type == "COLLECTION" and item.instance_collection:
            waiting.extend(item.instance_collection.all_objects)
    return sorted(found, key=lambda item: item.name)


def rendered_modifiers(scene: bpy.types.Scene) -> Iterator[tuple[bpy.types.Object, Any]]:
    """Every modifier that is on for renders, with its object."""
    for item in rendered_objects(scene):
        for modifier in item.modifiers:
            if modifier.show_render:
                yield item, modifier


def rigid_bodies(scene: bpy.types.Scene) -> list[str]:
    """Names of the objects that the rigid body world moves."""
    world = scene.rigidbody_world
    if world is None or not world.enabled or world.collection is None:
        return []
    names: list[str] = []
    for item in world.collection.all_objects:
        body = item.rigid_body
        if body is None or body.type != "ACTIVE":
            continue
        moved = body.enabled or is_animated(item, "rigid_body.enabled")
        led = body.kinematic and not is_animated(item, "rigid_body.kinematic")
        if moved and not led:
            names.append(item.name)
    return names


def point_caches(scene: bpy.types.Scene) -> Iterator[tuple[bpy.types.ID, str, str, Any]]:
    """(owner of the cache, name for people, kind, cache) of every simulation that keeps its frames in such a cache."""
    for name in rigid_bodies(scene):
        yield scene, name, "rigid body", scene.rigidbody_world.point_cache
    for item, modifier in rendered_modifiers(scene):
        if modifier.type == "CLOTH":
            yield item, item.name, "cloth", modifier.point_cache
        elif modifier.type == "SOFT_BODY":
            yield item, item.name, "soft body", modifier.point_cache
        elif modifier.type == "DYNAMIC_PAINT" and modifier.canvas_settings:
            for surface in modifier.canvas_settings.canvas_surfaces:
                if surface.is_active and surface.is_cache_user:
                    yield item, item.name, "dynamic paint", surface.point_cache
        elif modifier.type == "PARTICLE_SYSTEM":
            system = modifier.particle_system
            if system.settings.type == "HAIR" and system.use_hair_dynamics:
                yield item, item.name, "hair dynamics", system.point_cache
            elif system.settings.type == "EMITTER" and system.settings.physics_type in MOVED_BY_PHYSICS:
                yield item, item.name, "particles", system.point_cache


def fluid_domains(scene: bpy.types.Scene) -> Iterator[tuple[bpy.types.Object, Any]]:
    """Every fluid domain that is on for renders."""
    for item, modifier in rendered_modifiers(scene):
        if modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN":
            yield item, modifier.domain_settings


def is_fluid_baked(domain: Any) -> bool:
    """Whether everything that the domain shows is on disk. A replay is never complete: playing it is what fills it."""
    if domain.cache_type == "REPLAY" or not domain.has_cache_baked_data:
        return False
    if domain.domain_type == "GAS":
        return domain.has_cache_baked_noise or not domain.use_noise
    sprays = domain.use_spray_particles or domain.use_foam_particles
    sprays = sprays or domain.use_bubble_particles or domain.use_tracer_particles
    meshed = domain.has_cache_baked_mesh or not domain.use_mesh
    return meshed and (domain.has_cache_baked_particles or not sprays)


def has_simulation(tree: bpy.types.NodeTree | None, seen: set[str] | None = None) -> bool:
    """Whether a node tree, or a group in it, has a simulation zone."""
    seen = set() if seen is None else seen
    if tree is None or tree.name_full in seen:
        return False
    seen.add(tree.name_full)
    return any(
        node.bl_idname == "GeometryNodeSimulationOutput" or has_simulation(getattr(node, "node_tree", None), seen)
        for node in tree.nodes
    )


def is_simulation(bake: Any) -> bool:
    """Whether a bake is of a simulation zone; without it the zone needs the frames before."""
    return bool(bake.node) and bake.node.bl_idname == "GeometryNodeSimulationOutput"


def can_pack_bakes(modifier: Any) -> bool:
    """Whether this Blender (4.3) can keep a bake of geometry nodes in the file at all."""
    return hasattr(modifier, "bake_target")


def is_packed(item: bpy.types.Object, modifier: Any, bake_id: int) -> bool:
    """
    Whether a bake is in memory. Python is not told; but only what is in memory can fail to be unpacked to where
    nothing can be written, everything else is declined.
    """
    copy = item.copy()
    try:
        own = copy.modifiers[modifier.name]
        bake = next(one for one in own.bakes if one.bake_id == bake_id)
        bake.use_custom_path, bake.directory = True, NOWHERE
        bpy.ops.object.geometry_node_bake_unpack_single(
            session_uid=copy.session_uid, modifier_name=own.name, bake_id=bake_id, method="WRITE_ORIGINAL"
        )
    except RuntimeError:
        return True
    finally:
        bpy.data.objects.remove(copy)
    return False


def node_bakes(scene: bpy.types.Scene) -> Iterator[tuple[bpy.types.Object, Any, Any]]:
    """(object, modifier, bake) of every bake that geometry nodes may have, of simulation zones and of bake nodes."""
    for item, modifier in rendered_modifiers(scene):
        if modifier.type == "NODES" and can_pack_bakes(modifier):
            for bake in modifier.bakes:
                yield item, modifier, bake


def pack_bakes(scene: bpy.types.Scene) -> None:
    """
    Takes bakes of geometry nodes from disk into memory: Blender opens their files for writing, which the sandbox
    forbids, and shows nothing then.
    """
    packed_from.clear()
    for item, modifier, bake in node_bakes(scene):
        folder = bake_folder(modifier, bake)
        if folder is None:
            continue
        try:
            done = bpy.ops.object.geometry_node_bake_pack_single(
                session_uid=item.session_uid, modifier_name=modifier.name, bake_id=bake.bake_id
            )
        except RuntimeError:
            # Nothing there, or nothing that can be read: inspection finds that out and says so.
            continue
        if "FINISHED" in done:
            packed_from.append(absolute(folder, item.library))


def unreadable_bakes(scene: bpy.types.Scene) -> list[str]:
    """Objects with a bake node whose result is on disk and could not be taken into memory."""
    return [
        item.name
        for item, modifier, bake in node_bakes(scene)
        if bake_folder(modifier, bake) and not is_simulation(bake) and not is_packed(item, modifier, bake.bake_id)
    ]


def bake_folder(modifier: Any, bake: Any) -> str | None:
    """Where on disk a bake is said to lie; None where it is to be in the file."""
    target = modifier.bake_target if bake.bake_target == "INHERIT" else bake.bake_target
    if target != "DISK":
        return None
    if bake.use_custom_path:
        return bake.directory or None
    return f"{modifier.bake_directory}/{bake.bake_id}" if modifier.bake_directory else None


def zone_start(scene: bpy.types.Scene, bake: Any) -> int:
    """Where a simulation zone begins."""
    if bake.use_custom_simulation_frame_range:
        return int(bake.frame_start)
    return int(scene.simulation_frame_start if scene.use_custom_simulation_range else scene.frame_start)


def all_unbaked(scene: bpy.types.Scene) -> Iterator[Unbaked]:
    """Every simulation whose frames are not all kept, and the last frame that needs none before it."""
    for _owner, name, kind, cache in point_caches(scene):
        if not cache.is_baked:
            yield {"object": name, "kind": kind, "firstFrame": cache.frame_start}
    for item, domain in fluid_domains(scene):
        if not is_fluid_baked(domain):
            # Its first frame is written to its cache before it is shown, and a scene is read-only here.
            yield {"object": item.name, "kind": "fluid", "firstFrame": domain.cache_frame_start - 1}
    for item, modifier, bake in node_bakes(scene):
        if is_simulation(bake) and not is_packed(item, modifier, bake.bake_id):
            yield {"object": item.name, "kind": "simulation zone", "firstFrame": zone_start(scene, bake)}
    for item, modifier in rendered_modifiers(scene):
        if modifier.type == "NODES" and not can_pack_bakes(modifier) and has_simulation(modifier.node_group):
            yield {"object": item.name, "kind": "simulation zone", "firstFrame": scene.frame_start}


def unbaked(scene: bpy.types.Scene) -> list[Unbaked]:
    """Those of them that the report has room for."""
    return list(islice(all_unbaked(scene), MAX_UNBAKED))
