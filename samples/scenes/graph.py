# SPDX-License-Identifier: GPL-3.0-or-later
"""Node trees written as expressions."""

from __future__ import annotations

import bpy

from .common import rgba

Socket = bpy.types.NodeSocket


def group_socket(tree: bpy.types.NodeTree, name: str, kind: str, output: bool) -> None:
    if hasattr(tree, "interface"):
        tree.interface.new_socket(
            name, in_out="OUTPUT" if output else "INPUT", socket_type=kind
        )
    else:
        (tree.outputs if output else tree.inputs).new(kind, name)


class Graph:
    """A few shorthands to write node trees as expressions."""

    def __init__(self, tree: bpy.types.NodeTree) -> None:
        self.tree = tree

    def node(self, kind: str, **inputs: object) -> bpy.types.Node:
        node = self.tree.nodes.new(kind)
        for name, value in inputs.items():
            self.put(node.inputs[name], value)
        return node

    def put(self, socket: Socket, value: object) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif socket.type == "RGBA":
            socket.default_value = rgba(value)
        else:
            socket.default_value = value

    def vector(self, operation: str, *args: object) -> bpy.types.Node:
        node = self.tree.nodes.new("ShaderNodeVectorMath")
        node.operation = operation
        for socket, value in zip(node.inputs, args):
            self.put(socket, value)
        return node

    def math(self, operation: str, *args: object) -> Socket:
        node = self.tree.nodes.new("ShaderNodeMath")
        node.operation = operation
        for socket, value in zip(node.inputs, args):
            self.put(socket, value)
        return node.outputs[0]

    def dot(self, a: object, b: object) -> Socket:
        return self.vector("DOT_PRODUCT", a, b).outputs["Value"]

    def add(self, scale: object, color: object, base: object) -> Socket:
        return self.vector("MULTIPLY_ADD", scale, color, base).outputs["Vector"]

    def times(self, a: object, b: object) -> Socket:
        return self.vector("MULTIPLY", a, b).outputs["Vector"]

    def group(self, tree: bpy.types.NodeTree, value: Socket) -> Socket:
        node = self.tree.nodes.new("ShaderNodeGroup")
        node.node_tree = tree
        self.tree.links.new(value, node.inputs[0])
        return node.outputs[0]

    def mix(self, factor: object, first: Socket, second: Socket) -> Socket:
        node = self.tree.nodes.new("ShaderNodeMixShader")
        for socket, value in zip(node.inputs, (factor, first, second)):
            self.put(socket, value)
        return node.outputs[0]

    def sum(self, first: Socket, second: Socket) -> Socket:
        node = self.tree.nodes.new("ShaderNodeAddShader")
        self.tree.links.new(first, node.inputs[0])
        self.tree.links.new(second, node.inputs[1])
        return node.outputs[0]
