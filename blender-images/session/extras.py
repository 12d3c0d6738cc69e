# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of File Output nodes: written where the host can fetch them, under names that cannot leave a folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

import bpy

from . import compositing
from .output import MULTILAYER

# Ends of paths on the systems artists work on, and drives.
SEPARATORS = re.compile(r"[\\/]+")
# What no file system of an artist takes, and what a terminal would act on.
UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f\ud800-\udfff]')
# Of one component; file systems stop at 255 bytes and Blender adds frame number and extension.
MAX_COMPONENT = 100
# A path of a scene is stored in 1024 bytes; this many folders deep is nobody's intention.
MAX_DEPTH = 8


class ExtraFile(TypedDict):
    """
    One file of a File Output node. `name` is what the artist would find, relative to the output folder; the file
    itself lies at the prefix with its number in the list.
    """

    name: str


def plain_parts(path: str) -> list[str]:
    """A path of a scene as components that can only lead downwards: no root, no drive, no `..`."""
    parts = (UNSAFE.sub("_", part).strip(" .")[:MAX_COMPONENT] for part in SEPARATORS.split(path))
    return [part for part in parts if part][-MAX_DEPTH:]


def trees_of(tree: bpy.types.NodeTree, seen: set[int] | None = None) -> Iterator[bpy.types.NodeTree]:
    """The tree and every group in it, each once."""
    seen = set() if seen is None else seen
    if tree.as_pointer() in seen:
        return
    seen.add(tree.as_pointer())
    yield tree
    for node in tree.nodes:
        if node.type == "GROUP" and node.node_tree is not None:
            yield from trees_of(node.node_tree, seen)


def output_nodes(scene: bpy.types.Scene) -> list[bpy.types.Node]:
    """The File Output nodes that write something."""
    if not compositing.runs(scene):
        return []
    return [
        node
        for tree in trees_of(scene.node_tree)
        for node in tree.nodes
        if node.type == "OUTPUT_FILE" and not node.mute
    ]


@contextmanager
def redirected(scene: bpy.types.Scene, prefix: str | None) -> Iterator[list[ExtraFile]]:
    """
    Makes File Output nodes write at paths that begin with `prefix`, or nothing where there is none. The list is filled
    when the context ends. Numbering is left to Blender, so that names are what the artist knows.
    """
    found: list[ExtraFile] = []
    restore: list[tuple[object, str, object]] = []

    def change(target: object, name: str, value: object) -> None:
        restore.append((target, name, getattr(target, name)))
        setattr(target, name, value)

    folder = f"{prefix}.nodes"
    places: list[tuple[str, list[str]]] = []
    try:
        for number, node in enumerate(output_nodes(scene)):
            if prefix is None:
                change(node, "mute", True)
                continue
            own = os.path.join(folder, str(number))
            os.makedirs(own)
            parts = plain_parts(node.base_path)
            if node.format.file_format == MULTILAYER:
                # Here the path is the file, not its folder.
                is_folder = node.base_path[-1:] in ("", "/", "\\")
                stem = "" if is_folder or not parts else parts.pop()
                change(node, "base_path", os.path.join(own, stem))
            else:
                change(node, "base_path", f"{own}/")
                for slot in node.file_slots:
                    change(slot, "path", "/".join(plain_parts(slot.path)) or "image")
            places.append((own, parts))
        yield found
        if prefix is not None:
            found.extend(flattened(places, prefix))
    finally:
        for target, name, value in reversed(restore):
            setattr(target, name, value)
        shutil.rmtree(folder, ignore_errors=True)


def flattened(places: list[tuple[str, list[str]]], prefix: str) -> Iterator[ExtraFile]:
    """Moves what was written to files with numbers for names, so that the host has no path of a scene to follow."""
    used: set[str] = set()
    for own, parts in places:
        for where, _folders, names in os.walk(own):
            for name in sorted(names):
                source = os.path.join(where, name)
                inside = os.path.relpath(source, own).split(os.sep)
                target = f"{prefix}-{len(used)}"
                plain = unused("/".join([*parts, *inside]), used)
                os.rename(source, target)
                yield {"name": plain}


def unused(name: str, used: set[str]) -> str:
    """The name, with a number where another node writes the same one."""
    stem, extension = os.path.splitext(name)
    candidate, number = name, 1
    # Without regard to case: two systems of three take such names for the same.
    while candidate.casefold() in used:
        number += 1
        candidate = f"{stem}-{number}{extension}"
    used.add(candidate.casefold())
    return candidate
