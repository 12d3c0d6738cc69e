# SPDX-License-Identifier: GPL-3.0-or-later
"""
What a session sets for a GPU, in a real Blender with two cards that are made up: `blender -b --python this -- FOLDER`,
FOLDER being the parent of the package `session`. Prints one line, `DEVICES {...}`. Then it renders: no such card is
there, and the caller looks at what Blender does about that.
"""

import json
import sys

import bpy

sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[sys.argv.index("--") + 1])

from session import devices  # noqa: E402
from session.failure import Failure  # noqa: E402

preferences = devices.cycles_preferences()
assert preferences is not None
ids = ["CUDA_Card_0000:01:00", "CUDA_Card_0000:02:00"]
for identity in ids:
    entry = preferences.devices.add()
    entry.id, entry.name, entry.type, entry.use = identity, "Card", "CUDA", True
cpu = preferences.devices.add()
cpu.id, cpu.name, cpu.type, cpu.use = "CPU", "CPU", "CPU", True


def made_up(_self, kind):
    return [entry for entry in preferences.devices if entry.type == kind]


type(preferences).get_devices_for_type = made_up


def refusal(wanted):
    try:
        devices.use_device(bpy.context.scene, wanted)
    except Failure as failure:
        return failure.code
    return None


scene = bpy.context.scene
scene.render.engine = "CYCLES"
refused = [
    refusal({"type": "OPTIX", "id": ids[0], "name": "Card"}),
    refusal({"type": "CUDA", "id": "CUDA_Card_0000:03:00", "name": "Card"}),
]
scene.cycles.device = "CPU"
devices.use_device(scene, {"type": "CUDA", "id": ids[1], "name": "Card"})
used = [entry.id for entry in preferences.devices if entry.use]
state = {"refused": refused, "used": used, "kind": preferences.compute_device_type, "scene": scene.cycles.device}
print("DEVICES", json.dumps(state), flush=True)

scene.render.resolution_x = scene.render.resolution_y = 16
scene.cycles.samples = 1
scene.cycles.use_denoising = False
try:
    bpy.ops.render.render(write_still=False)
    print("RENDERED", flush=True)
except RuntimeError as error:
    print("REFUSED", str(error).strip(), flush=True)
