# SPDX-License-Identifier: GPL-3.0-or-later
"""Scene settings, lights, camera and file helpers shared by the samples.

Everything here works in Blender 3.4 and in 4.x: sockets that were renamed in
4.0 are looked up under either name.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from math import radians

import bpy
from mathutils import Matrix, Vector

Color = Sequence[float]


def reset() -> bpy.types.Scene:
    """Start from an empty file of one frame and keep Blender from writing .blend1 backups."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.preferences.filepaths.save_version = 0
    scene = bpy.context.scene
    # Blender's default is 250 frames; a still that is rendered without further words should be one.
    scene.frame_start = scene.frame_end = 1
    return scene


def save(path: str) -> None:
    """Save the open file compressed, with relative paths."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=path, compress=True, check_existing=False)


def try_set(owner: object, name: str, values: Iterable[object]) -> bool:
    """Set the first of the values that this Blender accepts."""
    for value in values:
        try:
            setattr(owner, name, value)
        except (AttributeError, TypeError):
            continue
        return True
    return False


def srgb(code: str) -> tuple[float, float, float]:
    """Linear RGB of a '#rrggbb' colour."""

    def linear(text: str) -> float:
        value = int(text, 16) / 255.0
        if value <= 0.04045:
            return value / 12.92
        return ((value + 0.055) / 1.055) ** 2.4

    code = code.lstrip("#")
    return linear(code[0:2]), linear(code[2:4]), linear(code[4:6])


def rgba(color: Color) -> tuple[float, float, float, float]:
    """The colour with an alpha of one."""
    return color[0], color[1], color[2], 1.0


def setup_render(
    scene: bpy.types.Scene,
    size: tuple[int, int],
    samples: int,
    *,
    bounces: int = 6,
    transmission: int = 6,
    diffuse: int = 2,
    glossy: int = 4,
    exposure: float = 0.0,
) -> None:
    """Cycles on the CPU with a fixed seed and a fixed number of samples.

    Adaptive sampling is off, so that a pixel never depends on its neighbours:
    a crop of the frame gives the very pixels of the whole frame.
    """
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y = size
    render.resolution_percentage = 100
    render.use_border = False
    render.use_crop_to_border = False
    render.use_motion_blur = False
    render.use_persistent_data = True
    render.use_sequencer = False
    render.film_transparent = False
    render.use_compositing = True
    render.fps = 24
    render.filepath = "//render/"
    render.image_settings.file_format = "PNG"
    render.image_settings.color_mode = "RGB"
    render.image_settings.color_depth = "8"
    render.dither_intensity = 0.0
    # No date, time or path in the pictures.
    for stamp in ("date", "time", "render_time", "filename", "memory", "hostname"):
        setattr(render, f"use_stamp_{stamp}", False)
    scene.sequence_editor_clear()

    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.samples = samples
    cycles.use_adaptive_sampling = False
    cycles.use_denoising = False
    cycles.seed = 7
    cycles.use_animated_seed = False
    cycles.max_bounces = bounces
    cycles.diffuse_bounces = diffuse
    cycles.glossy_bounces = glossy
    cycles.transmission_bounces = transmission
    cycles.transparent_max_bounces = 12
    cycles.volume_bounces = 0
    cycles.caustics_reflective = False
    cycles.caustics_refractive = False
    cycles.blur_glossy = 0.0
    # No Russian roulette within the bounces: it only adds noise here.
    cycles.min_light_bounces = bounces
    cycles.min_transparent_bounces = 4
    cycles.sample_clamp_indirect = 2.0
    cycles.sample_clamp_direct = 0.0
    cycles.pixel_filter_type = "BLACKMAN_HARRIS"
    cycles.filter_width = 1.5

    scene.display_settings.display_device = "sRGB"
    scene.view_settings.view_transform = "Filmic"
    try_set(
        scene.view_settings,
        "look",
        ("Medium High Contrast", "Filmic - Medium High Contrast", "None"),
    )
    scene.view_settings.exposure = exposure
    scene.view_settings.gamma = 1.0


def link(
    obj: bpy.types.Object, collection: bpy.types.Collection | None = None
) -> bpy.types.Object:
    """Put an object in a collection, or in the scene's own."""
    (collection or bpy.context.scene.collection).objects.link(obj)
    return obj


def look_at(origin: Sequence[float], target: Sequence[float]) -> Matrix:
    """A matrix at the origin whose -Z points at the target, Y up."""
    place = Vector(origin)
    aim = (Vector(target) - place).to_track_quat("-Z", "Y")
    return Matrix.Translation(place) @ aim.to_matrix().to_4x4()


def add_camera(
    scene: bpy.types.Scene,
    origin: Sequence[float],
    target: Sequence[float],
    lens: float,
    *,
    focus: Sequence[float] | None = None,
    fstop: float = 2.8,
) -> bpy.types.Object:
    """The scene's camera; with a focus point it has depth of field."""
    data = bpy.data.cameras.new("Camera")
    data.lens = lens
    data.sensor_width = 36.0
    data.clip_end = 500.0
    if focus is not None:
        data.dof.use_dof = True
        data.dof.aperture_fstop = fstop
        data.dof.focus_distance = (Vector(focus) - Vector(origin)).length
    camera = link(bpy.data.objects.new("Camera", data))
    camera.matrix_world = look_at(origin, target)
    scene.camera = camera
    return camera


def add_sun(
    name: str,
    elevation: float,
    azimuth: float,
    strength: float,
    color: Color,
    angle: float,
) -> bpy.types.Object:
    """A sun that stands at an elevation and azimuth, all in degrees."""
    data = bpy.data.lights.new(name, "SUN")
    data.energy = strength
    data.color = color[:3]
    data.angle = radians(angle)
    lamp = link(bpy.data.objects.new(name, data))
    lamp.rotation_euler = (radians(90.0 - elevation), 0.0, radians(azimuth))
    lamp.visible_camera = lamp.visible_glossy = False
    return lamp
