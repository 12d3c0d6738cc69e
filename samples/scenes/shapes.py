# SPDX-License-Identifier: GPL-3.0-or-later
"""Meshes in plain Python: bevelled tiles, lathes, gems, mosaic globes.

All of them stay flat-shaded.  Blender sums the smooth normals of big meshes in
an order that depends on threads, which moves the last bits of a render; flat
normals come from one face each and are the same in every run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import cos, pi, sin, tau

import bpy
from mathutils import Matrix, Vector

from . import common

Point = tuple[float, float]
Face = tuple[int, ...]


def mesh(
    name: str, verts: Sequence[Sequence[float]], faces: Sequence[Face]
) -> bpy.types.Mesh:
    """A flat-shaded mesh of these vertices and faces."""
    data = bpy.data.meshes.new(name)
    data.from_pydata([tuple(v) for v in verts], [], [tuple(f) for f in faces])
    data.update()
    return data


def place(
    name: str,
    data: bpy.types.Mesh,
    material: bpy.types.Material | None = None,
    matrix: Matrix | None = None,
    collection: bpy.types.Collection | None = None,
) -> bpy.types.Object:
    """An object of a mesh.  The material goes into the object's own slot when
    the mesh is shared by objects of several materials."""
    obj = common.link(bpy.data.objects.new(name, data), collection)
    obj.visible_diffuse = False
    if matrix is not None:
        obj.matrix_world = matrix
    if material is not None:
        if not data.materials:
            data.materials.append(material)
        elif data.materials[0] != material:
            obj.material_slots[0].link = "OBJECT"
            obj.material_slots[0].material = material
    return obj


def regular(sides: int, radius: float, turn: float = 0.0) -> list[Point]:
    """A regular polygon, counter-clockwise."""
    return [
        (radius * cos(turn + tau * i / sides), radius * sin(turn + tau * i / sides))
        for i in range(sides)
    ]


def rectangle(width: float, height: float) -> list[Point]:
    """A rectangle around the origin, counter-clockwise."""
    x, y = width / 2.0, height / 2.0
    return [(-x, -y), (x, -y), (x, y), (-x, y)]


def wedge(
    inner: float, outer: float, angle: float, gap: float, steps: int = 6
) -> list[Point]:
    """A piece of a ring around the +X axis, with half the gap off every side."""
    low, high = inner + gap / 2.0, outer - gap / 2.0
    a_low = angle / 2.0 - gap / 2.0 / low
    a_high = angle / 2.0 - gap / 2.0 / high
    arc = [-1.0 + 2.0 * i / steps for i in range(steps + 1)]
    rim = [(high * cos(a_high * t), high * sin(a_high * t)) for t in arc]
    hub = [(low * cos(a_low * t), low * sin(a_low * t)) for t in reversed(arc)]
    return rim + hub


def rounded(points: Sequence[Point], radius: float, steps: int = 3) -> list[Point]:
    """The polygon with its sharp corners rounded off (blunt ones stay)."""
    result: list[Point] = []
    count = len(points)
    for i, here in enumerate(points):
        at = Vector(here)
        back = Vector(points[i - 1]) - at
        ahead = Vector(points[(i + 1) % count]) - at
        if back.angle(ahead) > 2.6:
            result.append(here)
            continue
        reach = min(radius, 0.45 * back.length, 0.45 * ahead.length)
        start = at + back.normalized() * reach
        end = at + ahead.normalized() * reach
        for k in range(steps + 1):
            t = k / steps
            spot = (1 - t) ** 2 * start + 2 * t * (1 - t) * at + t * t * end
            result.append((spot.x, spot.y))
    return result


def inset(points: Sequence[Point], amount: float) -> list[Point]:
    """The counter-clockwise polygon with every side moved inwards."""
    result: list[Point] = []
    count = len(points)
    for i, here in enumerate(points):
        at = Vector(here)
        back = (at - Vector(points[i - 1])).normalized()
        ahead = (Vector(points[(i + 1) % count]) - at).normalized()
        n_back, n_ahead = Vector((-back.y, back.x)), Vector((-ahead.y, ahead.x))
        mitre = n_back + n_ahead
        moved = at + mitre * (2.0 * amount / max(mitre.length_squared, 0.3))
        result.append((moved.x, moved.y))
    return result


def prism(
    name: str,
    points: Sequence[Point],
    bottom: float,
    top: float,
    bevel: float = 0.0,
    segments: int = 3,
    taper: float = 0.0,
    corner: float = 0.0,
) -> bpy.types.Mesh:
    """A polygon pulled up from bottom to top, with rounded rims and corners."""
    rings: list[tuple[float, float]] = []
    if bevel > 0.0:
        for k in range(segments + 1):
            a = pi / 2.0 * k / segments
            rings.append((bevel * (1 - sin(a)), bottom + bevel * (1 - cos(a))))
        for k in range(segments + 1):
            a = pi / 2.0 * k / segments
            rings.append((taper + bevel * (1 - cos(a)), top - bevel * (1 - sin(a))))
    else:
        rings = [(0.0, bottom), (taper, top)]
    count = len(points)
    verts: list[tuple[float, float, float]] = []
    for amount, z in rings:
        ring = inset(points, amount) if amount else list(points)
        if corner > 0.0:
            ring = rounded(ring, max(corner - amount, 0.2 * corner))
        count = len(ring)
        verts += [(x, y, z) for x, y in ring]
    faces: list[Face] = [tuple(reversed(range(count)))]
    for r in range(len(rings) - 1):
        for i in range(count):
            j = (i + 1) % count
            a, b = r * count, (r + 1) * count
            faces.append((a + i, a + j, b + j, b + i))
    last = (len(rings) - 1) * count
    faces.append(tuple(range(last, last + count)))
    return mesh(name, verts, faces)


def lathe(
    name: str, profile: Sequence[Point], sides: int, turn: float = 0.0
) -> bpy.types.Mesh:
    """A faceted solid of revolution; the profile is (radius, z), upwards."""
    verts: list[tuple[float, float, float]] = []
    rings: list[list[int]] = []
    for radius, z in profile:
        if radius < 1e-6:
            rings.append([len(verts)] * sides)
            verts.append((0.0, 0.0, z))
            continue
        rings.append(list(range(len(verts), len(verts) + sides)))
        verts += [(x, y, z) for x, y in regular(sides, radius, turn)]
    faces: list[Face] = []
    if profile[0][0] > 1e-6:
        faces.append(tuple(reversed(rings[0])))
    for low, high in pairwise(rings):
        for i in range(sides):
            j = (i + 1) % sides
            quad = (low[i], low[j], high[j], high[i])
            faces.append(tuple(dict.fromkeys(quad)))
    if profile[-1][0] > 1e-6:
        faces.append(tuple(rings[-1]))
    return mesh(name, verts, faces)


def gem(name: str, radius: float, sides: int = 8) -> bpy.types.Mesh:
    """A brilliant-like cut, its table towards +Z, faceted all over."""
    rings = (
        (0.50, 0.42, 0.0),
        (0.80, 0.27, 0.5),
        (1.00, 0.06, 0.0),
        (1.00, -0.04, 0.0),
        (0.55, -0.45, 0.5),
    )
    verts: list[tuple[float, float, float]] = []
    for scale, z, turn in rings:
        spin = turn * tau / sides
        verts += [(x, y, z * radius) for x, y in regular(sides, scale * radius, spin)]
    verts.append((0.0, 0.0, -0.85 * radius))
    n = sides
    faces: list[Face] = [tuple(range(n))]
    for i in range(n):
        j = (i + 1) % n
        k = (i - 1) % n
        faces.append((i, n + i, j))
        faces.append((n + k, 2 * n + i, n + i, i))
        faces.append((2 * n + i, 2 * n + j, n + i))
        faces.append((2 * n + i, 3 * n + i, 3 * n + j, 2 * n + j))
        faces.append((3 * n + i, 4 * n + i, 3 * n + j))
        faces.append((4 * n + k, 5 * n, 4 * n + i, 3 * n + i))
    return mesh(name, verts, faces)


def cyclorama(
    name: str, width: float, front: float, back: float, height: float, bend: float
) -> bpy.types.Mesh:
    """A studio floor that sweeps up into a wall at y = back."""
    steps = 48
    profile = [(front, 0.0)]
    for k in range(steps + 1):
        a = pi / 2.0 * k / steps
        profile.append((back - bend + bend * sin(a), bend - bend * cos(a)))
    profile.append((back, height))
    verts = [(x, y, z) for y, z in profile for x in (-width / 2.0, width / 2.0)]
    faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(profile) - 1)]
    return mesh(name, verts, faces)


def icosphere_points(frequency: int) -> tuple[list[Vector], list[Face]]:
    """Points and triangles of an icosahedron, split, with a vertex on +Z."""
    corners = [Vector((0.0, 0.0, 1.0))]
    ring_z, ring_r = 1.0 / 5.0**0.5, 2.0 / 5.0**0.5
    for i in range(5):
        a = tau * i / 5
        corners.append(Vector((ring_r * cos(a), ring_r * sin(a), ring_z)))
    for i in range(5):
        a = tau * (i + 0.5) / 5
        corners.append(Vector((ring_r * cos(a), ring_r * sin(a), -ring_z)))
    corners.append(Vector((0.0, 0.0, -1.0)))
    triangles: list[tuple[int, int, int]] = []
    for i in range(5):
        j = (i + 1) % 5
        triangles += [
            (0, 1 + i, 1 + j),
            (1 + i, 6 + i, 1 + j),
            (1 + j, 6 + i, 6 + j),
            (11, 6 + j, 6 + i),
        ]
    points: list[Vector] = []
    known: dict[tuple[int, int, int], int] = {}

    def index(spot: Vector) -> int:
        key = (round(spot.x * 1e4), round(spot.y * 1e4), round(spot.z * 1e4))
        if key not in known:
            known[key] = len(points)
            points.append(spot.normalized())
        return known[key]

    faces: list[Face] = []
    for a, b, c in triangles:
        pa, pb, pc = corners[a], corners[b], corners[c]

        def at(
            i: int, j: int, pa: Vector = pa, pb: Vector = pb, pc: Vector = pc
        ) -> int:
            return index(pa + (pb - pa) * i / frequency + (pc - pa) * j / frequency)

        for i in range(frequency):
            for j in range(frequency - i):
                faces.append((at(i, j), at(i + 1, j), at(i, j + 1)))
                if i + j < frequency - 1:
                    faces.append((at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)))
    return points, faces


def icosphere(name: str, radius: float, frequency: int) -> bpy.types.Mesh:
    """A faceted ball."""
    points, faces = icosphere_points(frequency)
    return mesh(name, [p * radius for p in points], faces)


def globe_cells(frequency: int) -> list[tuple[Matrix, list[Point]]]:
    """Pentagons and hexagons around a unit ball, each in its own frame.

    The frame's Z points outwards and its X runs along a parallel, so cells that
    a turn by 72 degrees about Z maps onto each other are congruent.
    """
    points, faces = icosphere_points(frequency)
    around: list[list[Vector]] = [[] for _ in points]
    for face in faces:
        center = (points[face[0]] + points[face[1]] + points[face[2]]) / 3.0
        for corner in face:
            around[corner].append(center.normalized())
    cells = []
    for normal, centers in zip(points, around):
        side = Vector((0.0, 0.0, 1.0)).cross(normal)
        if side.length < 1e-6:
            side = Vector((1.0, 0.0, 0.0))
        side.normalize()
        up = normal.cross(side)
        flat = [(c.dot(side), c.dot(up)) for c in centers]
        flat.sort(key=lambda p: Vector((1.0, 0.0)).angle_signed(Vector(p)) * -1.0)
        frame = Matrix((side, up, normal)).transposed().to_4x4()
        cells.append((frame, flat))
    return cells
