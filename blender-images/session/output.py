# SPDX-License-Identifier: GPL-3.0-or-later
"""The format of a finished picture: the scene's own, or the one that the job asks for."""

from __future__ import annotations

from typing import Any

import bpy

from .failure import Failure
from .overriding import image_format

# What the farm can deliver, by its name in protocol/job.ts. What is missing are formats that nobody asks a farm for
# and films, which are made from finished frames.
FORMATS = {
    "png": "PNG",
    "jpeg": "JPEG",
    "tiff": "TIFF",
    "exr": "OPEN_EXR",
    "exr-multilayer": "OPEN_EXR_MULTILAYER",
    "webp": "WEBP",
}
MULTILAYER = "OPEN_EXR_MULTILAYER"
# In place of a format that the farm does not write: every program reads it and it loses nothing of 8 bits.
FALLBACK = "PNG"


def accepts(settings: bpy.types.ImageFormatSettings, name: str, value: str) -> bool:
    """Whether this build of Blender takes the value for the file format that is set at present."""
    try:
        # Puts back depth and mode too: Blender changes them to what another format has.
        with image_format(settings, **{name: value}):
            return True
    except TypeError:
        return False


def writable_formats(scene: bpy.types.Scene) -> list[str]:
    """Names of the formats that this build of Blender has."""
    settings = scene.render.image_settings
    return [name for name, identifier in FORMATS.items() if accepts(settings, "file_format", identifier)]


def picture_format(scene: bpy.types.Scene, output: dict[str, Any]) -> dict[str, Any]:
    """
    What to set on the scene's image settings. What the job does not say stays as it is in the scene, as if the artist
    had only picked another format in the menu.
    """
    settings = scene.render.image_settings
    wanted = output["format"]
    if wanted == "scene":
        identifier = settings.file_format if settings.file_format in FORMATS.values() else FALLBACK
    else:
        identifier = FORMATS[wanted]
    if not accepts(settings, "file_format", identifier):
        have = ", ".join(writable_formats(scene))
        raise Failure("SCENE_UNSUPPORTED", f"this build of Blender cannot write {wanted}; it has {have}")
    values: dict[str, Any] = {"file_format": identifier}
    # Alone and first: it decides which depths and modes exist.
    with image_format(settings, file_format=identifier):
        depth = output.get("depth")
        values["color_depth"] = str(depth) if depth is not None else settings.color_depth
        values["color_mode"] = output.get("colorMode") or settings.color_mode
        for name in ("color_depth", "color_mode"):
            if not accepts(settings, name, values[name]):
                what = name.replace("_", " ")
                raise Failure("SCENE_UNSUPPORTED", f"{wanted} pictures have no {what} {values[name]}")
    if output.get("quality") is not None:
        values["quality"] = output["quality"]
    if output.get("codec") is not None:
        codec = "tiff_codec" if identifier == "TIFF" else "exr_codec"
        if not accepts(settings, codec, output["codec"]):
            raise Failure("SCENE_UNSUPPORTED", f"this build of Blender has no codec {output['codec']} for {wanted}")
        values[codec] = output["codec"]
    return values
