# SPDX-License-Identifier: GPL-3.0-or-later
"""devices: what Cycles itself says it can render on."""

from __future__ import annotations

from typing import Any, TypedDict

import bpy

# Cycles' names of what it can be built with; a build knows some of them.
TYPES = ("OPTIX", "CUDA", "HIP", "METAL", "ONEAPI")


class Device(TypedDict):
    """As in platform/render/device-choice.ts."""

    type: str
    id: str
    name: str


def devices(_arguments: dict[str, Any], _progress: Any) -> dict[str, list[Device]]:
    """Every device of every type this build knows. A type it was not built with has none."""
    addon = bpy.context.preferences.addons.get("cycles")
    if addon is None:
        return {"devices": []}
    preferences = addon.preferences
    known = [item[0] for item in preferences.get_device_types(bpy.context)]
    found: dict[tuple[str, str], Device] = {}
    for kind in (kind for kind in TYPES if kind in known):
        # Asked for one type Cycles lists the CPU as well, once per type.
        for device in preferences.get_devices_for_type(kind):
            found[(device.type, device.id)] = {"type": device.type, "id": device.id, "name": device.name}
    if not any(kind == "CPU" for kind, _ in found):
        found[("CPU", "CPU")] = {"type": "CPU", "id": "CPU", "name": "CPU"}
    return {"devices": list(found.values())}
