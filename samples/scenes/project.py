# SPDX-License-Identifier: GPL-3.0-or-later
"""The project: a courtyard with a mosaic floor (a texture file) and props that
are linked from a library file."""

from __future__ import annotations

import os
from math import cos, pi, radians, sin

import bpy
from mathutils import Matrix, Vector

from . import common, props, shapes, studio, texture
from .common import srgb

SIZE = (640, 360)
SAMPLES = 16
HALF = 3.2
# Prop, place, turn in degrees, scale.
SPOTS: tuple[tuple[str, tuple[float, float, float], float, float], ...] = (
    ("Fountain", (0.0, 0.0, 0.0), 0.0, 0.8),
    ("Cypress", (-2.65, 2.65, 0.0), 0.0, 1.15),
    ("Cypress", (2.7, 2.65, 0.0), 40.0, 1.0),
    ("Cypress", (-2.65, -2.65, 0.0), 75.0, 0.95),
    ("Planter", (-2.6, 0.85, 0.0), 10.0, 0.95),
    ("Planter", (-2.6, -0.85, 0.0), 50.0, 0.8),
    ("Planter", (0.85, 2.6, 0.0), 85.0, 0.85),
    ("Planter", (2.7, -2.55, 0.0), 20.0, 0.9),
    ("Lantern", (-0.75, 2.62, 0.0), 15.0, 1.1),
    ("Lantern", (2.05, -2.75, 0.0), 0.0, 0.9),
    ("Lantern", (2.75, -1.85, 0.0), 30.0, 1.15),
    ("Lantern", (-2.7, -1.75, 0.0), 0.0, 1.0),
)


def _link_props(path: str) -> dict[str, bpy.types.Collection]:
    with bpy.data.libraries.load(path, link=True, relative=True) as (_, into):
        into.collections = list(props.PROPS)
    return {collection.name: collection for collection in into.collections}


def _instance(
    collection: bpy.types.Collection,
    number: int,
    place: tuple[float, float, float],
    turn: float = 0.0,
    scale: float = 1.0,
) -> None:
    empty = common.link(bpy.data.objects.new(f"{collection.name} {number}", None))
    empty.instance_type = "COLLECTION"
    empty.instance_collection = collection
    empty.location = place
    empty.rotation_euler = (0.0, 0.0, radians(turn))
    empty.scale = (scale, scale, scale)
    empty.empty_display_size = 0.3


def _place_props(linked: dict[str, bpy.types.Collection]) -> None:
    for number, (name, place, turn, scale) in enumerate(SPOTS, 1):
        _instance(linked[name], number, place, turn, scale)


def _floor(stage: studio.Studio, path: str) -> None:
    image = bpy.data.images.load(path)
    image.filepath = "//textures/mosaic_floor.png"
    glazed = stage.glaze(
        "Mosaic floor", (0.8, 0.8, 0.8), shine=1.2, occlusion=0.5, image=image
    )
    plane = shapes.mesh(
        "Mosaic floor",
        [(-HALF, -HALF, 0), (HALF, -HALF, 0), (HALF, HALF, 0), (-HALF, HALF, 0)],
        [(0, 1, 2, 3)],
    )
    layer = plane.uv_layers.new(name="UVMap")
    for loop, uv in zip(layer.data, ((0, 0), (1, 0), (1, 1), (0, 1))):
        loop.uv = uv
    shapes.place("Mosaic floor", plane, glazed)


def _arcade(height: float) -> bpy.types.Mesh:
    """A wall of three arched bays along X, in the XZ plane, thick along Y."""
    bays, pier, spring = 3, 0.34, 1.5
    width = 2.0 * HALF / bays
    radius = width / 2.0 - pier / 2.0
    verts: list[tuple[float, float, float]] = []
    faces: list[tuple[int, ...]] = []
    for bay in range(bays):
        left = -HALF + bay * width
        middle = left + width / 2.0
        arch = [(middle - radius, 0.0)]
        arch += [
            (middle - radius * cos(pi * k / 24), spring + radius * sin(pi * k / 24))
            for k in range(25)
        ]
        arch.append((middle + radius, 0.0))
        outline = [
            (left, 0.0),
            *arch,
            (left + width, 0.0),
            (left + width, height),
            (left, height),
        ]
        start, count = len(verts), len(outline)
        verts += [(x, 0.0, z) for x, z in outline]
        verts += [(x, 0.3, z) for x, z in outline]
        faces.append(tuple(range(start, start + count)))
        faces.append(tuple(reversed(range(start + count, start + 2 * count))))
        for i in range(count):
            j = (i + 1) % count
            # Where two bays meet there is no side face.
            if (i == count - 1 and bay > 0) or (i == count - 3 and bay < bays - 1):
                continue
            faces.append((start + j, start + i, start + count + i, start + count + j))
    return shapes.mesh("Arcade", verts, faces)


def _walls(stage: studio.Studio) -> None:
    plaster = stage.glaze("Plaster", srgb("#e9b68d"), shine=1.0, occlusion=0.5)
    trim = stage.glaze("Trim", srgb("#f4e8d2"), shine=1.2, occlusion=0.3)
    teal = stage.glaze("Frieze", srgb("#12717c"), vary=0.25)
    gold = stage.metal("Frieze gold", (1.0, 0.68, 0.28), dents=0.0, fill=0.3)
    height = 3.0
    wall = _arcade(height)
    back = Matrix.Translation((0.0, HALF, 0.0))
    side = Matrix.Translation((-HALF, 0.0, 0.0)) @ Matrix.Rotation(pi / 2, 4, "Z")
    coping = shapes.prism(
        "Coping", shapes.rectangle(2 * HALF + 0.12, 0.46), height, height + 0.13, 0.02
    )
    square = shapes.prism(
        "Frieze tile", shapes.rectangle(0.18, 0.18), 0.0, 0.025, 0.01, 1
    )
    for number, frame in enumerate((back, side)):
        shapes.place(f"Wall {number}", wall, plaster, frame)
        middle = frame @ Matrix.Translation((0.0, 0.15, 0.0))
        shapes.place(f"Coping {number}", coping, trim, middle)
        for column in range(32):
            at = Matrix.Translation((-HALF + 0.1 + column * 0.2, 0.0, height - 0.17))
            turn = Matrix.Rotation(pi / 2, 4, "X")
            material = gold if column % 4 == 0 else teal
            name = f"Frieze {number}.{column:02d}"
            shapes.place(name, square, material, frame @ at @ turn)
    post = shapes.prism("Corner", shapes.rectangle(0.44, 0.44), 0.0, height + 0.3, 0.03)
    shapes.place(
        "Corner", post, trim, Matrix.Translation((-HALF - 0.15, HALF + 0.15, 0.0))
    )


def _ground(stage: studio.Studio) -> None:
    stone = stage.glaze("Plinth", srgb("#f0e3cd"), shine=1.0, occlusion=0.5)
    paper = stage.glaze("Ground", srgb("#5f9f9f"), shine=1.0)
    slab = shapes.prism(
        "Plinth", shapes.rectangle(2 * HALF + 1.1, 2 * HALF + 1.1), -0.3, -0.004, 0.04
    )
    shapes.place("Plinth", slab, stone)
    plane = shapes.mesh(
        "Ground",
        [(-60, -60, -0.3), (60, -60, -0.3), (60, 60, -0.3), (-60, 60, -0.3)],
        [(0, 1, 2, 3)],
    )
    shapes.place("Ground", plane, paper)


def build(outdir: str) -> None:
    """Build and save project/ under the folder: library, texture, scene."""
    folder = os.path.join(outdir, "project")
    library = os.path.join(folder, "lib", "props.blend")
    picture = os.path.join(folder, "textures", "mosaic_floor.png")
    path = os.path.join(folder, "project.blend")
    texture.draw(picture)
    props.build_library(library)

    scene = common.reset()
    common.save(path)  # so that paths can be relative to it
    common.setup_render(scene, SIZE, SAMPLES, bounces=4, diffuse=0, glossy=2)
    stage = props.evening()
    stage.world(scene)
    _walls(stage)
    _ground(stage)
    lanterns = [(at[0], at[1]) for name, at, _, _ in SPOTS if name == "Lantern"]
    _floor(props.evening(lanterns), picture)
    _place_props(_link_props(library))
    common.add_sun("Sun", 38.0, -36.0, 4.3, (1.0, 0.76, 0.5), 2.0)
    common.add_camera(scene, (13.5, -14.5, 8.8), Vector((0.05, 0.0, 0.92)), 63.0)
    scene.use_nodes = False
    common.save(path)
