# SPDX-License-Identifier: GPL-3.0-or-later
"""
Rectangles through Blender's render border and back: blender -b --python check-borders.py -- IN OUT. For every frame
and rectangle of the list: the rectangle that Blender makes of the border that the session sets for it.
"""

from __future__ import annotations

import json
import os
import sys

import bpy

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "blender-images"))

from session import region  # noqa: E402

source, target = sys.argv[sys.argv.index("--") + 1 :]
with open(source, encoding="utf-8") as file:
    vectors = json.load(file)
scene = bpy.context.scene
scene.render.use_border = False
results = []
for vector in vectors:
    scene.render.resolution_x, scene.render.resolution_y = vector["width"], vector["height"]
    scene.render.resolution_percentage = vector["percentage"]
    found = []
    for rect in vector["rects"]:
        with region.bordered(scene, rect, crop=True):
            found.append(region.border_rect(scene))
    width, height = region.full_size(scene)
    results.append({"width": width, "height": height, "rects": found})
with open(target, "w", encoding="utf-8") as file:
    json.dump(results, file)
