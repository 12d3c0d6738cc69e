# SPDX-License-Identifier: GPL-3.0-or-later
"""open: loads the scene, once."""

from __future__ import annotations

import os
from typing import Any

import bpy
import OpenImageIO as oiio

from . import simulations
from .devices import use_device
from .failure import Failure

HEADER_BYTES = 12
# Blender 5 has a longer header; where it is not the classic one, Blender is the judge.
CLASSIC_VERSION_DIGITS = slice(9, 12)

# What later commands need to know about this one.
loaded: dict[str, str] = {}


def has_end(path: str) -> bool:
    """
    Whether an uncompressed file reaches its end block. Blender is content with less: it takes a file that was cut
    after its type table. Compressed files are left to Blender, which finds that table missing.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(HEADER_BYTES)
        if head[:7] != b"BLENDER" or not head[CLASSIC_VERSION_DIGITS].isdigit() or head[7:8] not in b"-_":
            return True
        pointer = 8 if head[7:8] == b"-" else 4
        order = "little" if head[8:9] == b"v" else "big"
        block_head = 16 + pointer
        while True:
            block = file.read(block_head)
            if len(block) < block_head:
                return False
            if block[:4] == b"ENDB":
                return True
            length = int.from_bytes(block[4:8], order, signed=True)
            if length < 0 or file.tell() + length > size:
                return False
            file.seek(length, os.SEEK_CUR)


def open_scene(arguments: dict[str, Any], _progress: Any) -> dict[str, Any]:
    """Loads the file without running anything in it, and sets what stays set for the whole session."""
    path = arguments["path"]
    if not os.path.isfile(path):
        raise Failure("SCENE_NOT_FOUND", f"no file {arguments['name']} in the folder of the scene")
    if not has_end(path):
        why = "it was cut off while it was copied or saved"
        raise Failure("SCENE_UNREADABLE", f"{arguments['name']} ends before its end: {why}")
    try:
        done = bpy.ops.wm.open_mainfile(filepath=path, load_ui=False, use_scripts=False)
    except RuntimeError as error:
        text = str(error).replace(path, arguments["name"]).strip()
        raise Failure("SCENE_UNREADABLE", f"Blender cannot read {arguments['name']}: {text}") from error
    if "FINISHED" not in done or not bpy.data.scenes:
        raise Failure("SCENE_UNREADABLE", f"Blender cannot read {arguments['name']}")
    oiio.attribute("threads", int(arguments["threads"]))
    scene = bpy.context.scene
    scene.render.use_persistent_data = True
    scene.render.use_overwrite = True
    scene.render.use_placeholder = False
    loaded["root"] = arguments["root"]
    if hasattr(scene, "cycles"):
        # Stopping at the clock makes every run another picture.
        scene.cycles.time_limit = 0
        use_device(scene, arguments.get("device"))
    simulations.pack_bakes(scene)
    return {"scene": scene.name, "viewLayers": [layer.name for layer in scene.view_layers if layer.use]}
