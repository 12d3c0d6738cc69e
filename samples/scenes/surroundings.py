# SPDX-License-Identifier: GPL-3.0-or-later
"""A studio whose soft lights are formulas, so that a few samples are enough.

Path-traced soft boxes and sky are noisy at the ten or twenty samples that a
sample scene can spend.  Here the surroundings are smooth functions of a
direction, in node groups that the world and all materials share:

* mirrors and glass see them along real reflected and refracted rays;
* glazes add them at the reflection vector times Fresnel, without a ray;
* diffuse fill light is a function of the normal, darkened by ambient occlusion.

One real lamp casts the shadows.  No emitter is sampled as a light, and no
diffuse ray sees anything (shapes.place and Studio.world switch that off).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians

import bpy
from mathutils import Vector

from .common import Color, try_set
from .graph import Graph, Socket, group_socket


@dataclass(frozen=True)
class Lobe:
    """A round soft box: direction, colour, the angles from its middle (degrees)
    at which it ends and is full.  Glazes may be left out of its reflections."""

    direction: Sequence[float]
    color: Color
    outer: float
    inner: float
    on_glaze: bool = True


@dataclass(frozen=True)
class Glow:
    """A point that lights what is around it: place, colour, softening radius."""

    center: Sequence[float]
    color: Color
    radius: float = 0.3


def _unit(direction: Sequence[float]) -> tuple[float, float, float]:
    vector = Vector(direction).normalized()
    return vector.x, vector.y, vector.z


class Surroundings:
    """What is around one scene, as node groups."""

    def __init__(
        self,
        low: Color,
        high: Color,
        lobes: Sequence[Lobe],
        fill_low: Color,
        fill_high: Color,
        fills: Sequence[tuple[Sequence[float], Color]] = (),
        glows: Sequence[Glow] = (),
        backlight: Lobe | None = None,
    ) -> None:
        self.around = self._around("Studio around", low, high, lobes)
        self.gloss = self.around
        soft = [lobe for lobe in lobes if lobe.on_glaze]
        if len(soft) < len(lobes):
            self.gloss = self._around("Studio gloss", low, high, soft)
        self.backlight = None
        if backlight is not None:
            dark = (0.0, 0.0, 0.0)
            self.backlight = self._around("Studio backlight", dark, dark, [backlight])
        self.fill = self._fill(fill_low, fill_high, fills, glows)

    @staticmethod
    def _open(name: str, kind: str) -> tuple[Graph, Socket, bpy.types.Node]:
        tree = bpy.data.node_groups.new(name, "ShaderNodeTree")
        group_socket(tree, kind, "NodeSocketVector", False)
        group_socket(tree, "Color", "NodeSocketColor", True)
        source = tree.nodes.new("NodeGroupInput")
        return Graph(tree), source.outputs[0], tree.nodes.new("NodeGroupOutput")

    @staticmethod
    def _gradient(graph: Graph, vector: Socket, low: Color, high: Color) -> Socket:
        height = graph.math("MULTIPLY_ADD", graph.dot(vector, (0, 0, 1)), 0.5, 0.5)
        span = tuple(h - c for h, c in zip(high[:3], low[:3]))
        return graph.add(height, span, tuple(low[:3]))

    def _around(
        self, name: str, low: Color, high: Color, lobes: Sequence[Lobe]
    ) -> bpy.types.NodeTree:
        """Radiance that comes from a direction."""
        graph, vector, output = self._open(name, "Direction")
        color = self._gradient(graph, vector, low, high)
        for lobe in lobes:
            ramp = graph.tree.nodes.new("ShaderNodeMapRange")
            ramp.interpolation_type = "SMOOTHSTEP"
            graph.put(ramp.inputs[0], graph.dot(vector, _unit(lobe.direction)))
            ramp.inputs[1].default_value = cos(radians(lobe.outer))
            ramp.inputs[2].default_value = cos(radians(lobe.inner))
            color = graph.add(ramp.outputs[0], tuple(lobe.color[:3]), color)
        graph.put(output.inputs[0], color)
        return graph.tree

    def _fill(
        self,
        low: Color,
        high: Color,
        fills: Sequence[tuple[Sequence[float], Color]],
        glows: Sequence[Glow],
    ) -> bpy.types.NodeTree:
        """Light that falls on a surface of a normal, shadows left aside."""
        graph, normal, output = self._open("Studio fill", "Normal")
        color = self._gradient(graph, normal, low, high)
        for direction, light in fills:
            facing = graph.math("MAXIMUM", graph.dot(normal, _unit(direction)), 0.0)
            color = graph.add(facing, tuple(light[:3]), color)
        for glow in glows:
            here = graph.node("ShaderNodeNewGeometry").outputs["Position"]
            towards = graph.vector("SUBTRACT", tuple(glow.center), here).outputs[0]
            distance = graph.vector("LENGTH", towards).outputs["Value"]
            facing = graph.math("MAXIMUM", graph.dot(normal, towards), 0.0)
            cube = graph.math("POWER", distance, 3.0)
            cube = graph.math("ADD", cube, glow.radius**3)
            color = graph.add(
                graph.math("DIVIDE", facing, cube), tuple(glow.color[:3]), color
            )
        graph.put(output.inputs[0], color)
        return graph.tree

    def world(self, scene: bpy.types.Scene) -> None:
        """Make the surroundings the scene's world; never sampled as a light."""
        world = bpy.data.worlds.new("Studio")
        scene.world = world
        world.use_nodes = True
        world.node_tree.nodes.clear()
        graph = Graph(world.node_tree)
        vector = graph.node("ShaderNodeTexCoord").outputs["Generated"]
        color = graph.group(self.around, vector)
        if self.backlight is not None:  # a light table that only glass shows
            path = graph.node("ShaderNodeLightPath")
            color = graph.add(
                path.outputs["Is Transmission Ray"],
                graph.group(self.backlight, vector),
                color,
            )
        shader = graph.node("ShaderNodeBackground", Color=color)
        graph.node("ShaderNodeOutputWorld", Surface=shader.outputs[0])
        try_set(world.cycles, "sampling_method", ("NONE",))
        try_set(world.cycles_visibility, "diffuse", (False,))
