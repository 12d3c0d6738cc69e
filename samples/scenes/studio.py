# SPDX-License-Identifier: GPL-3.0-or-later
"""Materials that know their surroundings: glaze, metal, glass, mirror, glow."""

from __future__ import annotations

import bpy

from .common import Color, rgba, try_set
from .graph import Graph, Socket
from .surroundings import Glow, Lobe, Surroundings

__all__ = ["Glow", "Lobe", "Studio"]


class Studio(Surroundings):
    """The surroundings of one scene and the materials that reflect them."""

    def _start(self, name: str, color: Color) -> tuple[bpy.types.Material, Graph]:
        material = bpy.data.materials.new(name)
        material.use_nodes = True
        material.node_tree.nodes.clear()
        material.diffuse_color = rgba(color)
        try_set(material.cycles, "sample_as_light", (False,))
        try_set(material.cycles, "emission_sampling", ("NONE",))
        return material, Graph(material.node_tree)

    @staticmethod
    def _tint(graph: Graph, color: Color, vary: float) -> Socket:
        """The colour, brighter or darker by the object's random number."""
        info = graph.node("ShaderNodeObjectInfo")
        scale = graph.math(
            "MULTIPLY_ADD", info.outputs["Random"], 2.0 * vary, 1.0 - vary
        )
        return graph.times(tuple(color[:3]), scale)

    @staticmethod
    def _dents(graph: Graph, scale: float, depth: float) -> Socket:
        """The normal of a surface with soft dents, as of cut or cast tiles."""
        coords = graph.node("ShaderNodeTexCoord").outputs["Object"]
        noise = graph.node("ShaderNodeTexNoise", Vector=coords, Scale=scale, Detail=0.0)
        bump = graph.node(
            "ShaderNodeBump", Height=noise.outputs[0], Strength=depth, Distance=0.1
        )
        return bump.outputs["Normal"]

    def _mirrored(self, graph: Graph, normal: Socket | None, ior: float) -> Socket:
        """The surroundings at the reflection vector, times Fresnel."""
        geometry = graph.node("ShaderNodeNewGeometry")
        facing = normal or geometry.outputs["Normal"]
        incoming = graph.vector("SCALE", geometry.outputs["Incoming"])
        incoming.inputs["Scale"].default_value = -1.0
        bounce = graph.vector("REFLECT", incoming.outputs[0], facing).outputs[0]
        fresnel = graph.node("ShaderNodeFresnel", IOR=ior)
        if normal is not None:
            graph.put(fresnel.inputs["Normal"], normal)
        return graph.times(graph.group(self.gloss, bounce), fresnel.outputs[0])

    def glaze(
        self,
        name: str,
        color: Color,
        *,
        shine: float = 1.5,
        vary: float = 0.0,
        occlusion: float = 0.0,
        dents: float = 0.0,
        image: bpy.types.Image | None = None,
    ) -> bpy.types.Material:
        """Stone, ceramic, plaster.  Shine is the IOR of the gloss, 1 for none;
        occlusion is how far ambient occlusion reaches; an image on the UV map
        replaces the colour."""
        material, graph = self._start(name, color)
        base: object = tuple(color[:3])
        if image is not None:
            texture = graph.node("ShaderNodeTexImage")
            texture.image = image
            base = texture.outputs["Color"]
        elif vary:
            base = self._tint(graph, color, vary)
        geometry = graph.node("ShaderNodeNewGeometry")
        normal = self._dents(graph, 3.0, dents) if dents else None
        facing = normal or geometry.outputs["Normal"]
        light = graph.times(base, graph.group(self.fill, facing))
        if shine > 1.0:
            gloss = self._mirrored(graph, normal, shine)
            light = graph.vector("ADD", light, gloss).outputs[0]
        if occlusion > 0.0:
            near = graph.node("ShaderNodeAmbientOcclusion", Distance=occlusion)
            near.samples = 1
            light = graph.times(light, near.outputs["AO"])
        emission = graph.node("ShaderNodeEmission", Color=light)
        diffuse = graph.node("ShaderNodeBsdfDiffuse", Color=base)
        if normal is not None:
            graph.put(diffuse.inputs["Normal"], normal)
        shader = graph.sum(diffuse.outputs[0], emission.outputs[0])
        graph.node("ShaderNodeOutputMaterial", Surface=shader)
        return material

    def metal(
        self,
        name: str,
        color: Color,
        *,
        vary: float = 0.0,
        dents: float = 0.25,
        scale: float = 3.0,
        fill: float = 0.12,
    ) -> bpy.types.Material:
        """Polished metal with soft dents; it mirrors the scene itself."""
        material, graph = self._start(name, color)
        base = self._tint(graph, color, vary) if vary else tuple(color[:3])
        normal = self._dents(graph, scale, dents) if dents else None
        mirror = graph.node("ShaderNodeBsdfGlossy", Color=base, Roughness=0.0)
        if normal is not None:
            graph.put(mirror.inputs["Normal"], normal)
        shader = mirror.outputs[0]
        if fill:
            geometry = graph.node("ShaderNodeNewGeometry")
            facing = normal or geometry.outputs["Normal"]
            light = graph.times(base, graph.group(self.fill, facing))
            emission = graph.node("ShaderNodeEmission", Color=light, Strength=fill)
            shader = graph.sum(shader, emission.outputs[0])
        graph.node("ShaderNodeOutputMaterial", Surface=shader)
        return material

    def glass(
        self,
        name: str,
        color: Color,
        *,
        ior: float = 1.3,
        body: float = 0.4,
        vary: float = 0.0,
        dents: float = 0.0,
        shadow: float = 0.6,
    ) -> bpy.types.Material:
        """Tinted glass: one refracted ray, the gloss by formula.  Body is some
        light of its own, as in cast glass; shadow rays pass it, tinted."""
        material, graph = self._start(name, color)
        base = self._tint(graph, color, vary) if vary else tuple(color[:3])
        normal = self._dents(graph, 4.0, dents) if dents else None
        geometry = graph.node("ShaderNodeNewGeometry")
        facing = normal or geometry.outputs["Normal"]
        clear = graph.node(
            "ShaderNodeBsdfRefraction", Color=base, Roughness=0.0, IOR=ior
        )
        inside = graph.node("ShaderNodeBsdfGlass", Color=base, Roughness=0.0, IOR=ior)
        if normal is not None:
            graph.put(clear.inputs["Normal"], normal)
        light = graph.times(base, graph.group(self.fill, facing))
        light = graph.vector("SCALE", light)
        light.inputs["Scale"].default_value = body
        gloss = self._mirrored(graph, normal, 1.45)
        total = graph.vector("ADD", light.outputs[0], gloss).outputs[0]
        emission = graph.node("ShaderNodeEmission", Color=total)
        front = graph.sum(clear.outputs[0], emission.outputs[0])
        shader = graph.mix(geometry.outputs["Backfacing"], front, inside.outputs[0])
        tint = tuple(shadow * (0.2 + 0.8 * c) for c in color[:3])
        through = graph.node("ShaderNodeBsdfTransparent", Color=tint)
        path = graph.node("ShaderNodeLightPath")
        shader = graph.mix(path.outputs["Is Shadow Ray"], shader, through.outputs[0])
        graph.node("ShaderNodeOutputMaterial", Surface=shader)
        return material

    def mirror_floor(
        self, name: str, color: Color, reflect: float, *, dents: float = 0.0
    ) -> bpy.types.Material:
        """A dark floor: lit by formula, with a real mirror image on top."""
        material, graph = self._start(name, color)
        geometry = graph.node("ShaderNodeNewGeometry")
        normal = self._dents(graph, 0.8, dents) if dents else None
        light = graph.times(
            tuple(color[:3]), graph.group(self.fill, geometry.outputs["Normal"])
        )
        emission = graph.node("ShaderNodeEmission", Color=light)
        weight = graph.node("ShaderNodeFresnel", IOR=1.5).outputs[0]
        weight = graph.math("MULTIPLY_ADD", weight, reflect, 0.25 * reflect)
        mirror = graph.node("ShaderNodeBsdfGlossy", Color=weight, Roughness=0.0)
        if normal is not None:
            graph.put(mirror.inputs["Normal"], normal)
        shader = graph.sum(mirror.outputs[0], emission.outputs[0])
        graph.node("ShaderNodeOutputMaterial", Surface=shader)
        return material

    def glow(
        self,
        name: str,
        center: Color,
        edge: Color,
        strength: float,
        *,
        sparkle: float = 0.0,
    ) -> bpy.types.Material:
        """A light source: facets turn from the centre's to the edge's colour;
        with sparkle they also differ by where they face."""
        material, graph = self._start(name, center)
        facing = graph.node("ShaderNodeLayerWeight", Blend=0.5).outputs["Facing"]
        span = tuple(e - c for e, c in zip(edge[:3], center[:3]))
        if sparkle:
            normal = graph.node("ShaderNodeNewGeometry").outputs["Normal"]
            wave = graph.math("SINE", graph.dot(normal, (7.3, 5.1, 8.9)))
            wave = graph.math("MULTIPLY_ADD", wave, 0.5 * sparkle, 0.5 * sparkle)
            facing = graph.math("ADD", facing, wave)
            facing = graph.math("MINIMUM", facing, 1.0)
        color = graph.add(facing, span, tuple(center[:3]))
        emission = graph.node("ShaderNodeEmission", Color=color, Strength=strength)
        graph.node("ShaderNodeOutputMaterial", Surface=emission.outputs[0])
        return material
