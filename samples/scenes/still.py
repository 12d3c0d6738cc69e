# SPDX-License-Identifier: GPL-3.0-or-later
"""The still: a mosaic token that comes together around a glowing gem."""

from __future__ import annotations

import os
import random
from math import cos, pi, radians, sin, tau

import bpy
from mathutils import Matrix, Vector

from . import common, shapes, studio
from .common import srgb
from .studio import Lobe

SIZE = (960, 540)
SAMPLES = 16
CENTER = Vector((-0.6, 0.0, 2.22))
BREAK = radians(10.0)


def _studio() -> studio.Studio:
    return studio.Studio(
        low=(0.002, 0.003, 0.006),
        high=(0.008, 0.014, 0.026),
        lobes=(
            Lobe((-0.09, 1.0, 0.05), (0.016, 0.095, 0.14), 13.0, 0.0),
            Lobe((0.0, 1.0, 0.0), (0.002, 0.007, 0.014), 40.0, 0.0),
            Lobe((-0.80, -0.57, 0.06), (1.5, 1.1, 0.7), 21.0, 0.0, False),
            Lobe((-0.8, -0.55, 0.75), (5.2, 4.2, 3.2), 34.0, 12.0),
            Lobe((0.95, -0.5, 0.25), (0.7, 1.5, 2.4), 32.0, 8.0),
            Lobe((0.3, -0.3, 1.0), (2.2, 2.3, 2.6), 38.0, 14.0),
            Lobe((-1.0, 0.15, 0.05), (2.6, 0.9, 0.35), 26.0, 6.0),
            Lobe((0.25, -1.0, 0.12), (0.75, 0.62, 0.5), 40.0, 6.0),
        ),
        fill_low=(0.02, 0.03, 0.05),
        fill_high=(0.10, 0.13, 0.2),
        fills=(
            ((0.95, -0.4, 0.2), (0.12, 0.3, 0.5)),
            ((-0.95, -0.1, 0.1), (0.2, 0.1, 0.06)),
        ),
        glows=(studio.Glow(CENTER, (1.5, 0.45, 0.07), 0.5),),
        backlight=Lobe((-0.09, 1.0, 0.05), (0.62, 0.62, 0.6), 50.0, 0.0),
    )


def _materials(stage: studio.Studio) -> dict[str, bpy.types.Material]:
    return {
        "gold": stage.metal("Gold", (1.0, 0.66, 0.26), vary=0.08, dents=0.4),
        "copper": stage.metal("Copper", (0.95, 0.42, 0.25), vary=0.08),
        "obsidian": stage.glaze("Obsidian", srgb("#0b1220"), shine=1.7, dents=0.1),
        "pearl": stage.glaze("Pearl", srgb("#f0e5d4"), vary=0.1, dents=0.08),
        "teal": stage.glass("Glass teal", srgb("#54f0e2"), vary=0.15, dents=0.1),
        "blue": stage.glass("Glass blue", srgb("#5a9bff"), vary=0.15, dents=0.1),
        "amber": stage.glass("Glass amber", srgb("#ffb84e"), vary=0.1, dents=0.1),
        # The crumbs are too small for dents.
        "gold crumb": stage.metal("Gold crumb", (1.0, 0.66, 0.26), dents=0.0),
        "copper crumb": stage.metal("Copper crumb", (0.95, 0.42, 0.25), dents=0.0),
        "pearl crumb": stage.glaze("Pearl crumb", srgb("#f0e5d4")),
        "glow": stage.glow(
            "Glow", (1.0, 0.32, 0.04), (0.9, 0.06, 0.004), 7.5, sparkle=0.9
        ),
    }


def _ring_material(ring: int, index: int) -> str:
    """Which material a tile has; the patterns repeat around the token."""
    patterns = (
        ("gold",),
        ("teal", "blue"),
        ("pearl", "pearl", "copper"),
        ("teal", "gold", "obsidian", "amber", "obsidian", "gold"),
        ("gold",),
    )
    pattern = patterns[ring]
    return pattern[index % len(pattern)]


# inner radius, outer radius, tiles, half the thickness
RINGS = (
    (0.50, 0.86, 8, 0.15),
    (0.86, 1.26, 16, 0.11),
    (1.26, 1.50, 24, 0.14),
    (1.50, 1.92, 24, 0.11),
    (1.92, 2.06, 36, 0.15),
)


def _token(mats: dict[str, bpy.types.Material]) -> None:
    """The rings of tiles; towards BREAK they drift off the token."""
    rng = random.Random(41)
    frame = (
        Matrix.Translation(CENTER)
        @ Matrix.Rotation(radians(-24.0), 4, "Z")
        @ Matrix.Rotation(pi / 2.0, 4, "X")
    )
    for ring, (inner, outer, count, half) in enumerate(RINGS):
        outline = shapes.wedge(inner, outer, tau / count, 0.035)
        tile = shapes.prism(
            f"Tile {ring}", outline, -half, half, 0.028, 3, corner=0.045
        )
        middle = (inner + outer) / 2.0
        for index in range(count):
            angle = tau * (index + 0.5 * (ring % 2)) / count
            away = max(0.0, cos(angle - BREAK) - 0.55) / 0.45
            drift = away**1.6 * (0.05, 0.25, 0.75, 1.35, 1.9)[ring]
            drift *= rng.uniform(0.75, 1.3)
            spin = min(1.0, 0.9 * drift)
            # Tesserae are set at slight angles: each catches the light on its own.
            tumble = Matrix.Rotation(rng.uniform(-1.2, 1.2) * spin, 4, "X")
            tumble @= Matrix.Rotation(rng.uniform(-1.2, 1.2) * spin, 4, "Y")
            tumble @= Matrix.Rotation(rng.uniform(-0.07, 0.07), 4, "X")
            tumble @= Matrix.Rotation(rng.uniform(-0.07, 0.07), 4, "Y")
            tumble @= Matrix.Rotation(rng.uniform(-0.7, 0.7) * spin, 4, "Z")
            lift = rng.uniform(-0.35, 0.75) * drift + rng.uniform(-0.015, 0.015)
            heading = angle + rng.uniform(-0.12, 0.12) * spin
            offset = Vector((cos(heading) * drift, sin(heading) * drift, lift))
            matrix = (
                frame
                @ Matrix.Translation(offset)
                @ Matrix.Rotation(angle, 4, "Z")
                @ Matrix.Translation((middle, 0.0, 0.0))
                @ tumble
                @ Matrix.Translation((-middle, 0.0, 0.0))
            )
            key = _ring_material(ring, index)
            shapes.place(f"Tile {ring}.{index:02d}", tile, mats[key], matrix)
    bezel = shapes.lathe(
        "Bezel",
        [
            (0.36, -0.16),
            (0.44, -0.2),
            (0.475, -0.17),
            (0.475, 0.17),
            (0.44, 0.2),
            (0.37, 0.15),
            (0.36, -0.16),
        ],
        64,
    )
    shapes.place("Bezel", bezel, mats["gold"], frame)
    jewel = shapes.gem("Jewel", 0.37, 10)
    lifted = frame @ Matrix.Translation((0.0, 0.0, 0.08))
    shapes.place("Jewel", jewel, mats["glow"], lifted)


def _floor_pieces(mats: dict[str, bpy.types.Material]) -> None:
    """A few loose tesserae that lie on the floor."""
    block = shapes.prism(
        "Block", shapes.rectangle(0.36, 0.36), 0, 0.2, 0.028, corner=0.045
    )
    tri = shapes.prism("Triangle", shapes.regular(3, 0.28), 0, 0.17, 0.025, corner=0.06)
    hexagon = shapes.prism(
        "Hexagon", shapes.regular(6, 0.24), 0, 0.15, 0.025, corner=0.04
    )
    pieces = (
        (block, "teal", (1.42, -1.15), 24.0),
        (block, "gold", (1.82, -1.9), -14.0),
        (hexagon, "amber", (2.55, -4.3), 8.0),
        (tri, "pearl", (0.72, -3.3), 40.0),
        (hexagon, "copper", (-2.7, -1.35), 15.0),
        (block, "blue", (-3.2, -0.5), 35.0),
        (tri, "gold", (3.5, 0.3), 75.0),
        (block, "obsidian", (2.75, -1.5), 62.0),
        (tri, "teal", (-1.75, -4.0), 10.0),
        (hexagon, "gold", (-1.35, -4.6), 25.0),
        (block, "amber", (-3.75, 0.6), 12.0),
    )
    for number, (data, key, (x, y), turn) in enumerate(pieces):
        matrix = Matrix.Translation((x, y, 0.002))
        matrix @= Matrix.Rotation(radians(turn), 4, "Z")
        shapes.place(f"Loose {number}", data, mats[key], matrix)


def _crumbs(mats: dict[str, bpy.types.Material]) -> None:
    """Small cubes that trail off the broken side."""
    rng = random.Random(17)
    cube = shapes.prism(
        "Crumb", shapes.rectangle(1.0, 1.0), -0.5, 0.5, 0.09, 2, corner=0.12
    )
    keys = ("gold crumb", "teal", "copper crumb", "amber", "pearl crumb", "blue")
    for number in range(54):
        reach = 1.9 + 3.6 * rng.random() ** 0.8
        angle = BREAK + rng.uniform(-0.62, 0.62)
        size = rng.uniform(0.07, 0.19) * (1.15 - 0.13 * reach)
        place = CENTER + Vector(
            (reach * cos(angle), rng.uniform(-1.6, 1.2), reach * sin(angle))
        )
        place.z = max(place.z, 0.2)
        matrix = Matrix.Translation(place)
        for axis in "XYZ":
            matrix @= Matrix.Rotation(rng.uniform(0.0, tau), 4, axis)
        matrix @= Matrix.Scale(size, 4)
        key = keys[number % len(keys)]
        shapes.place(f"Crumb {number:02d}", cube, mats[key], matrix)


def _floor(stage: studio.Studio) -> None:
    dark = stage.mirror_floor("Floor", srgb("#16202f"), 0.62, dents=0.006)
    plane = shapes.mesh(
        "Floor",
        [(-90, -40, 0), (90, -40, 0), (90, 160, 0), (-90, 160, 0)],
        [(0, 1, 2, 3)],
    )
    shapes.place("Floor", plane, dark)


def _compositor(scene: bpy.types.Scene) -> None:
    """Render Layers, a fog glow, faint streaks, a vignette, Composite."""
    scene.use_nodes = True
    tree = scene.node_tree
    nodes, links = tree.nodes, tree.links
    nodes.clear()
    layers = nodes.new("CompositorNodeRLayers")
    fog = nodes.new("CompositorNodeGlare")
    fog.glare_type = "FOG_GLOW"
    fog.quality = "HIGH"
    fog.threshold = 1.5
    fog.size = 9
    fog.mix = -0.1
    streaks = nodes.new("CompositorNodeGlare")
    streaks.glare_type = "STREAKS"
    streaks.quality = "MEDIUM"
    streaks.threshold = 3.0
    streaks.streaks = 4
    streaks.angle_offset = radians(20.0)
    streaks.iterations = 3
    streaks.fade = 0.88
    streaks.color_modulation = 0.15
    streaks.mix = -0.86
    mask = nodes.new("CompositorNodeEllipseMask")
    # Newer versions call the ellipse's own size mask_width and mask_height.
    prefix = "mask_" if hasattr(mask, "mask_width") else ""
    setattr(mask, f"{prefix}width", 1.15)
    setattr(mask, f"{prefix}height", 0.72)
    blur = nodes.new("CompositorNodeBlur")
    blur.filter_type = "FAST_GAUSS"
    blur.size_x = blur.size_y = 220
    vignette = nodes.new("CompositorNodeMixRGB")
    vignette.blend_type = "MULTIPLY"
    vignette.inputs[0].default_value = 0.55
    output = nodes.new("CompositorNodeComposite")
    links.new(layers.outputs["Image"], fog.inputs["Image"])
    links.new(fog.outputs["Image"], streaks.inputs["Image"])
    links.new(mask.outputs["Mask"], blur.inputs["Image"])
    links.new(streaks.outputs["Image"], vignette.inputs[1])
    links.new(blur.outputs["Image"], vignette.inputs[2])
    links.new(vignette.outputs["Image"], output.inputs["Image"])
    for number, node in enumerate((layers, fog, streaks, vignette, output)):
        node.location = (260.0 * number, 0.0)
    mask.location, blur.location = (260.0, -420.0), (520.0, -420.0)


def build(outdir: str) -> None:
    """Build and save still/still.blend under the folder."""
    scene = common.reset()
    common.setup_render(
        scene, SIZE, SAMPLES, bounces=6, transmission=6, diffuse=0, glossy=3
    )
    stage = _studio()
    stage.world(scene)
    mats = _materials(stage)
    _token(mats)
    _crumbs(mats)
    _floor_pieces(mats)
    _floor(stage)
    common.add_sun("Key", 42.0, -48.0, 2.6, (1.0, 0.86, 0.7), 6.0)
    common.add_camera(scene, (0.9, -15.5, 1.3), (0.42, 0.0, 1.8), 59.0)
    _compositor(scene)
    common.save(os.path.join(outdir, "still", "still.blend"))
