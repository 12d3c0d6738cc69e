# SPDX-License-Identifier: GPL-3.0-or-later
"""The turntable: a globe of mosaic tiles around a glowing core, in a loop.

The pattern has fivefold symmetry about the axis, so a turn by 72 degrees over
the 24 frames closes the loop: frame 25 would be frame 1 again.
"""

from __future__ import annotations

import os
from math import tau

import bpy
from mathutils import Matrix, Vector

from . import common, shapes, studio
from .common import srgb
from .studio import Lobe

SIZE = (480, 270)
SAMPLES = 8
FRAMES = 24
RADIUS = 1.0
CENTER = Vector((0.0, 0.0, 1.78))


def _studio() -> studio.Studio:
    return studio.Studio(
        low=(0.12, 0.05, 0.07),
        high=(0.5, 0.34, 0.4),
        lobes=(
            Lobe((-0.75, -0.6, 0.8), (4.5, 4.0, 3.4), 32.0, 10.0),
            Lobe((0.9, -0.5, 0.3), (0.5, 0.9, 1.3), 30.0, 8.0),
            Lobe((0.2, 0.3, 1.0), (2.0, 2.0, 2.0), 35.0, 10.0),
            Lobe((0.0, -1.0, 0.25), (1.3, 1.05, 0.85), 55.0, 5.0, False),
        ),
        fill_low=(0.07, 0.045, 0.07),
        fill_high=(0.17, 0.15, 0.2),
        fills=(((0.9, -0.3, 0.15), (0.10, 0.2, 0.28)),),
        glows=(
            studio.Glow(CENTER, (0.35, 0.10, 0.02), 0.6),
            studio.Glow((0.0, 6.2, 2.4), (30.0, 19.0, 18.0), 1.8),
        ),
    )


def _materials(stage: studio.Studio) -> dict[str, bpy.types.Material]:
    return {
        "gold": stage.metal("Gold", (1.0, 0.66, 0.26), dents=0.0, fill=0.6),
        "ivory": stage.glaze("Ivory", srgb("#f3e6cf")),
        "teal": stage.glaze("Teal", srgb("#0e7c86")),
        "coral": stage.glaze("Coral", srgb("#f0603f")),
        "navy": stage.glaze("Navy", srgb("#14304f")),
        "core": stage.glow("Core", (1.0, 0.42, 0.07), (1.0, 0.2, 0.02), 6.0),
        "stone": stage.glaze("Stone", srgb("#1d2b3d"), shine=1.45),
    }


def _globe(mats: dict[str, bpy.types.Material], spin: bpy.types.Object) -> None:
    cells = shapes.globe_cells(4)
    poles = [frame.col[2].to_3d() for frame, outline in cells if len(outline) == 5]
    # Four kinds of cells by how far the nearest pentagon is, with their heights.
    kinds = (("gold", 0.13), ("ivory", 0.07), ("teal", 0.05), ("coral", 0.09))
    near = [
        round(100.0 * max(frame.col[2].to_3d().dot(pole) for pole in poles))
        for frame, _ in cells
    ]
    ranks = sorted(set(near), reverse=True)
    for number, (frame, outline) in enumerate(cells):
        key, height = kinds[ranks.index(near[number])]
        shape = shapes.inset(outline, 0.027)
        tile = shapes.prism(f"Cell {number}", shape, -0.06, height, 0.016, 2, 0.014)
        place = Matrix.Translation(CENTER) @ frame
        place @= Matrix.Translation((0.0, 0.0, 0.94 * RADIUS))
        obj = shapes.place(f"Cell {number:03d}", tile, mats[key], place)
        obj.parent = spin
        obj.matrix_parent_inverse = spin.matrix_world.inverted()
    core = shapes.icosphere("Core", 0.89, 6)
    obj = shapes.place("Core", core, mats["core"], Matrix.Translation(CENTER))
    obj.parent = spin
    obj.matrix_parent_inverse = spin.matrix_world.inverted()


def _plinth(mats: dict[str, bpy.types.Material]) -> None:
    base = shapes.prism("Plinth", shapes.regular(64, 1.05), 0.0, 0.34, 0.03, 3)
    rim = shapes.prism("Rim", shapes.regular(64, 0.98), 0.34, 0.4, 0.015, 2)
    step = shapes.prism("Step", shapes.regular(64, 0.84), 0.4, 0.56, 0.03, 3)
    cup = shapes.lathe(
        "Cup", [(0.36, 0.56), (0.3, 0.62), (0.26, 0.72), (0.34, 0.82), (0.3, 0.84)], 64
    )
    shapes.place("Plinth", base, mats["stone"])
    shapes.place("Rim", rim, mats["gold"])
    shapes.place("Step", step, mats["stone"])
    shapes.place("Cup", cup, mats["gold"])


def _spin() -> bpy.types.Object:
    """An empty on the axis; it turns by a fifth over the loop, evenly."""
    spin = common.link(bpy.data.objects.new("Spin", None))
    spin.location = CENTER
    spin.empty_display_size = 0.4
    bpy.context.view_layer.update()
    spin.rotation_euler = (0.0, 0.0, 0.0)
    spin.keyframe_insert("rotation_euler", index=2, frame=1)
    spin.rotation_euler = (0.0, 0.0, tau / 5.0)
    spin.keyframe_insert("rotation_euler", index=2, frame=FRAMES + 1)
    spin.rotation_euler = (0.0, 0.0, 0.0)
    for curve in spin.animation_data.action.fcurves:
        curve.extrapolation = "LINEAR"
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    return spin


def _paper(stage: studio.Studio) -> None:
    paper = stage.glaze("Paper", srgb("#46304a"), shine=1.0, occlusion=0.7)
    sweep = shapes.cyclorama("Sweep", 60.0, -20.0, 9.0, 24.0, 6.0)
    shapes.place("Sweep", sweep, paper)


def build(outdir: str) -> None:
    """Build and save turntable/turntable.blend under the folder."""
    scene = common.reset()
    common.setup_render(scene, SIZE, SAMPLES, bounces=3, diffuse=0, glossy=2)
    scene.frame_start, scene.frame_end = 1, FRAMES
    stage = _studio()
    stage.world(scene)
    mats = _materials(stage)
    spin = _spin()
    _globe(mats, spin)
    _plinth(mats)
    _paper(stage)
    common.add_sun("Key", 46.0, -46.0, 4.4, (1.0, 0.9, 0.78), 5.0)
    common.add_camera(scene, (0.0, -11.0, 2.2), (0.0, 0.0, 1.46), 70.0)
    scene.use_nodes = False
    scene.frame_set(1)
    common.save(os.path.join(outdir, "turntable", "turntable.blend"))
