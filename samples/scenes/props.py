# SPDX-License-Identifier: GPL-3.0-or-later
"""The props of the courtyard, each a collection of the library file, and the
evening light that they share with the courtyard."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi, tau
from random import Random

import bpy
from mathutils import Matrix

from . import common, shapes, studio
from .common import srgb
from .studio import Glow, Lobe

PROPS = ("Lantern", "Planter", "Cypress", "Fountain")


def evening(lanterns: Sequence[tuple[float, float]] = ()) -> studio.Studio:
    """A soft evening sky, and pools of light around lanterns."""
    return studio.Studio(
        low=(0.55, 0.26, 0.19),
        high=(0.42, 0.50, 0.72),
        lobes=(
            Lobe((-0.8, -0.6, 0.7), (2.6, 2.0, 1.3), 36.0, 8.0),
            Lobe((0.0, 0.0, 1.0), (0.25, 0.35, 0.5), 60.0, 10.0),
        ),
        fill_low=(0.17, 0.11, 0.10),
        fill_high=(0.22, 0.29, 0.44),
        fills=(((0.9, -0.5, 0.1), (0.12, 0.10, 0.16)),),
        glows=[Glow((x, y, 0.3), (0.3, 0.13, 0.03), 0.3) for x, y in lanterns],
    )


def _collection(name: str) -> bpy.types.Collection:
    collection = bpy.data.collections.new(name)
    bpy.context.scene.collection.children.link(collection)
    return collection


def _ring(
    points: int, radius: float, z: float = 0.0, turn: float = 0.0
) -> list[Matrix]:
    """Frames on a circle whose X axis points outwards."""
    return [
        Matrix.Rotation(turn + tau * i / points, 4, "Z")
        @ Matrix.Translation((radius, 0.0, z))
        for i in range(points)
    ]


def _lantern(stage: studio.Studio) -> None:
    into = _collection("Lantern")
    brass = stage.metal("Brass", (0.95, 0.6, 0.25), dents=0.0, fill=0.3)
    flame = stage.glow("Flame", (1.0, 0.62, 0.25), (1.0, 0.3, 0.06), 4.0)
    parts = (
        [(0.17, 0.0), (0.17, 0.04), (0.13, 0.06)],
        [
            (0.15, 0.42),
            (0.18, 0.44),
            (0.18, 0.47),
            (0.07, 0.58),
            (0.03, 0.6),
            (0.03, 0.66),
            (0.0, 0.67),
        ],
    )
    for number, profile in enumerate(parts):
        data = shapes.lathe(f"Lantern {number}", profile, 6)
        shapes.place(f"Lantern {number}", data, brass, None, into)
    bar = shapes.prism("Lantern bar", shapes.rectangle(0.02, 0.02), 0.05, 0.43)
    for number, frame in enumerate(_ring(6, 0.135)):
        shapes.place(f"Lantern bar {number}", bar, brass, frame, into)
    light = shapes.lathe("Flame", [(0.115, 0.06), (0.125, 0.24), (0.115, 0.42)], 6)
    shapes.place("Flame", light, flame, None, into)


def _planter(stage: studio.Studio) -> None:
    into = _collection("Planter")
    clay = stage.glaze("Terracotta", srgb("#c8663f"), shine=1.0, occlusion=0.3)
    band = stage.glaze("Planter band", srgb("#147a82"), shine=1.5)
    leaf = stage.glaze("Leaf", srgb("#4f8a52"), shine=1.2, occlusion=0.35)
    pot = shapes.lathe(
        "Pot",
        [
            (0.2, 0.0),
            (0.29, 0.34),
            (0.33, 0.34),
            (0.34, 0.43),
            (0.29, 0.43),
            (0.27, 0.38),
            (0.0, 0.38),
        ],
        20,
    )
    shapes.place("Pot", pot, clay, None, into)
    ring = shapes.lathe(
        "Band", [(0.262, 0.2), (0.275, 0.2), (0.295, 0.29), (0.282, 0.29)], 20
    )
    shapes.place("Band", ring, band, None, into)
    rng = Random(5)
    ball = shapes.icosphere("Bush", 0.36, 5)
    for vertex in ball.vertices:
        vertex.co *= rng.uniform(0.86, 1.1)
    shapes.place("Bush", ball, leaf, Matrix.Translation((0, 0, 0.68)), into)


def _cypress(stage: studio.Studio) -> None:
    into = _collection("Cypress")
    clay = stage.glaze("Cypress pot", srgb("#e9dcc3"), shine=1.0, occlusion=0.3)
    leaf = stage.glaze("Cypress leaf", srgb("#2f6b57"), shine=1.2, occlusion=0.3)
    pot = shapes.lathe(
        "Cypress pot",
        [
            (0.2, 0.0),
            (0.27, 0.3),
            (0.31, 0.32),
            (0.31, 0.4),
            (0.26, 0.4),
            (0.25, 0.36),
            (0.0, 0.36),
        ],
        8,
        pi / 8,
    )
    shapes.place("Cypress pot", pot, clay, None, into)
    rng = Random(9)
    profile = [
        (0.06, 0.36),
        (0.24, 0.5),
        (0.31, 0.8),
        (0.3, 1.15),
        (0.24, 1.55),
        (0.15, 1.95),
        (0.06, 2.25),
        (0.0, 2.38),
    ]
    tree = shapes.lathe("Cypress leaf", profile, 12)
    for vertex in tree.vertices:
        vertex.co.xy *= rng.uniform(0.82, 1.15)
        vertex.co.z += rng.uniform(-0.05, 0.05)
    shapes.place("Cypress leaf", tree, leaf, None, into)


def _fountain(stage: studio.Studio) -> None:
    into = _collection("Fountain")
    stone = stage.glaze("Fountain stone", srgb("#efe2cc"), shine=1.3, occlusion=0.4)
    tile = stage.glaze("Fountain tile", srgb("#1a6f86"), shine=1.6, vary=0.25)
    gold = stage.metal("Fountain gold", (1.0, 0.68, 0.28), dents=0.0, fill=0.2)
    water = stage.mirror_floor("Water", srgb("#1d93a0"), 1.6, dents=0.05)
    basin = shapes.lathe(
        "Basin",
        [
            (1.0, 0.0),
            (1.0, 0.08),
            (0.94, 0.1),
            (0.94, 0.36),
            (1.0, 0.39),
            (1.0, 0.47),
            (0.8, 0.47),
            (0.8, 0.3),
            (0.0, 0.3),
        ],
        8,
        pi / 8,
    )
    shapes.place("Basin", basin, stone, None, into)
    pond = shapes.lathe("Water", [(0.8, 0.4), (0.0, 0.4)], 8, pi / 8)
    for polygon in pond.polygons:
        polygon.flip()
    shapes.place("Water", pond, water, None, into)
    square = shapes.prism(
        "Basin tile", shapes.rectangle(0.105, 0.105), 0.0, 0.02, 0.008, 1
    )
    for side in range(8):
        face = Matrix.Rotation(tau * side / 8, 4, "Z")
        for column in range(6):
            for row in range(2):
                at = Matrix.Translation(
                    (0.94 * cos(pi / 8), (column - 2.5) * 0.116, 0.172 + row * 0.116)
                )
                frame = face @ at @ Matrix.Rotation(pi / 2, 4, "Y")
                name = f"Basin tile {side}{column}{row}"
                shapes.place(name, square, tile, frame, into)
    stem = shapes.lathe(
        "Stem",
        [
            (0.16, 0.3),
            (0.12, 0.5),
            (0.09, 0.85),
            (0.14, 0.92),
            (0.4, 1.02),
            (0.42, 1.07),
            (0.36, 1.07),
            (0.0, 1.0),
        ],
        16,
    )
    shapes.place("Stem", stem, stone, None, into)
    ball = shapes.icosphere("Finial", 0.15, 3)
    shapes.place("Finial", ball, gold, Matrix.Translation((0, 0, 1.2)), into)


def build_library(path: str) -> None:
    common.reset()
    stage = evening()
    _lantern(stage)
    _planter(stage)
    _cypress(stage)
    _fountain(stage)
    common.save(path)
