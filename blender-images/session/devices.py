# SPDX-License-Identifier: GPL-3.0-or-later
"""devices: what Cycles itself says it can render on; and the one device that a session renders on."""

from __future__ import annotations

from typing import Any, TypedDict

import bpy

from .failure import Failure

# Cycles' names of what it can be built with; a build knows some of them.
TYPES = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")

# Enough for every kernel to be loaded and run.
TRIAL_SIDE = 16


class Device(TypedDict):
    """As in platform/render/device-choice.ts."""

    type: str
    id: str
    name: str


def cycles_preferences() -> Any | None:
    """Cycles' own preferences; None where this Blender has no Cycles."""
    addon = bpy.context.preferences.addons.get("cycles")
    return None if addon is None else addon.preferences


def devices(_arguments: dict[str, Any], _progress: Any) -> dict[str, list[Device]]:
    """Every device of every type this build knows. A type it was not built with has none."""
    preferences = cycles_preferences()
    if preferences is None:
        return {"devices": []}
    known = [item[0] for item in preferences.get_device_types(bpy.context)]
    found: dict[tuple[str, str], Device] = {}
    for kind in (kind for kind in TYPES if kind in known):
        # Asked for one type Cycles lists the CPU as well, once per type.
        for device in preferences.get_devices_for_type(kind):
            found[(device.type, device.id)] = {"type": device.type, "id": device.id, "name": device.name}
    if not any(kind == "CPU" for kind, _ in found):
        found[("CPU", "CPU")] = {"type": "CPU", "id": "CPU", "name": "CPU"}
    return {"devices": list(found.values())}


def use_device(scene: bpy.types.Scene, wanted: Device | None) -> None:
    """
    Makes Cycles render this scene on exactly this device, None for the CPU. Cycles takes the CPU without a word where
    the device of the preferences is not there; so what is set is read back, and a session on a GPU is started with
    --cycles-device, with which Cycles fails instead.
    """
    if wanted is None:
        scene.cycles.device = "CPU"
        return
    preferences = cycles_preferences()
    kind, name = wanted["type"], f"{wanted['name']} ({wanted['type']})"
    if preferences is None or kind not in [item[0] for item in preferences.get_device_types(bpy.context)]:
        raise Failure("GPU_NOT_FOUND", f"this Blender was built without {kind}, so {name} cannot be used")
    preferences.compute_device_type = kind
    there = [(device.type, device.id) for device in preferences.get_devices_for_type(kind)]
    for device in preferences.devices:
        device.use = (device.type, device.id) == (kind, wanted["id"])
    used = [(device.type, device.id) for device in preferences.devices if device.use]
    if used != [(kind, wanted["id"])] or used[0] not in there:
        listed = ", ".join(identity for _, identity in there) or "none"
        raise Failure("GPU_NOT_FOUND", f"Blender does not see {name}; the {kind} devices it sees: {listed}")
    scene.cycles.device = "GPU"


def try_device(arguments: dict[str, Any], _progress: Any) -> dict[str, Any]:
    """Renders a few pixels of the scene that Blender starts with: kernels are found missing now, not under a task."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    use_device(scene, arguments["device"])
    scene.render.resolution_x = scene.render.resolution_y = TRIAL_SIDE
    scene.render.resolution_percentage = 100
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    try:
        bpy.ops.render.render(write_still=False)
    except RuntimeError as error:
        raise Failure("GPU_NOT_FOUND", f"Blender cannot render on it: {str(error).strip()}") from error
    return {}
