# SPDX-License-Identifier: GPL-3.0-or-later
"""The scenes of the render benchmark: blender -b --factory-startup --python make_scenes.py -- SAMPLES_FOLDER OUT."""

from __future__ import annotations

import os
import sys

import bpy

ANIMATION_FRAMES = 48
# About half a second a frame on two cores: what short frames of real jobs take on a GPU.
ANIMATION_SAMPLES = 2
HEAVY_FRAMES = 24
WARM_UP_FRAMES = 24
# Enough separate meshes that handing them to Cycles takes longer than tracing two samples.
HEAVY_SIDE = 30


def animation(samples_folder: str, out: str) -> None:
    """The turntable sample, twice round."""
    bpy.ops.wm.open_mainfile(filepath=os.path.join(samples_folder, "turntable", "turntable.blend"))
    scene = bpy.context.scene
    scene.frame_end = scene.frame_start + ANIMATION_FRAMES - 1
    scene.cycles.samples = ANIMATION_SAMPLES
    for action in bpy.data.actions:
        for curve in action.fcurves:
            curve.extrapolation = "LINEAR"
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(out, "animation.blend"), compress=True)


def warm_up(samples_folder: str, out: str) -> None:
    """Another scene, small and quick: what a farm has done before it is measured."""
    bpy.ops.wm.open_mainfile(filepath=os.path.join(samples_folder, "turntable", "turntable.blend"))
    scene = bpy.context.scene
    scene.render.resolution_percentage = 25
    scene.frame_end = scene.frame_start + WARM_UP_FRAMES - 1
    scene.cycles.samples = 1
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(out, "warm-up.blend"), compress=True)


def heavy_sync(out: str) -> None:
    """Many meshes of their own, each subdivided; the camera moves, nothing else does."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = 480, 270
    scene.render.resolution_percentage = 100
    scene.cycles.samples = 2
    # Debian's Blender has no denoiser and stops over a scene that wants one.
    scene.cycles.use_denoising = False
    scene.frame_start, scene.frame_end = 1, HEAVY_FRAMES
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=4, radius=0.4)
    first = bpy.context.object
    for index in range(1, HEAVY_SIDE * HEAVY_SIDE):
        # Its own mesh each: instances would be handed over once.
        ball = bpy.data.objects.new(f"Ball {index}", first.data.copy())
        ball.location = (index % HEAVY_SIDE, index // HEAVY_SIDE, 0.0)
        scene.collection.objects.link(ball)
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.rotation_euler = (0.6, 0.3, 0.0)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.rotation_euler = (0.9, 0.0, 0.0)
    for frame, x in ((1, HEAVY_SIDE * 0.3), (HEAVY_FRAMES, HEAVY_SIDE * 0.7)):
        camera.location = (x, -HEAVY_SIDE * 0.5, HEAVY_SIDE * 0.6)
        camera.keyframe_insert("location", frame=frame)
    for thing in (sun, camera):
        scene.collection.objects.link(thing)
    scene.camera = camera
    bpy.ops.wm.save_as_mainfile(filepath=os.path.join(out, "heavy-sync.blend"), compress=True)


if __name__ == "__main__":
    folder, target = sys.argv[sys.argv.index("--") + 1 :]
    animation(folder, target)
    warm_up(folder, target)
    heavy_sync(target)
