# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of baked simulations. Blender lists most of them with no other path of the scene."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import bpy

from . import simulations
from .files import absolute

FRAME_FILE = ".bphys"


def point_cache_place(owner: bpy.types.ID, cache: Any) -> tuple[str, str, str]:
    """(folder, how its files begin, how they end) of a cache that is kept on disk."""
    if cache.use_external:
        end = f"_{cache.index:02}{FRAME_FILE}" if cache.index >= 0 else FRAME_FILE
        return absolute(cache.filepath, owner.library), f"{cache.name}_", end
    blend = bpy.data.filepath
    if owner.library and cache.use_library_path:
        blend = absolute(owner.library.filepath, None)
    stem = os.path.splitext(os.path.basename(blend))[0]
    name = cache.name or "".join(f"{byte:02X}" for byte in owner.name.encode())
    folder = os.path.join(os.path.dirname(blend), f"blendcache_{stem}")
    return folder, f"{name}_", f"_{max(0, cache.index):02}{FRAME_FILE}"


def point_cache_files(owner: bpy.types.ID, cache: Any) -> list[str]:
    """The files of a cache on disk; where there are none, the first one, or the folder that should have it."""
    folder, begin, end = point_cache_place(owner, cache)
    if not os.path.isdir(folder):
        return [folder]
    files = [os.path.join(folder, name) for name in os.listdir(folder) if name.startswith(begin) and name.endswith(end)]
    return files or [os.path.join(folder, f"{begin}{cache.frame_start:06}{end}")]


def cache_files(scene: bpy.types.Scene) -> Iterator[str]:
    """Where Blender looks for what baked simulations have kept outside the .blend."""
    for owner, _name, _kind, cache in simulations.point_caches(scene):
        if cache.is_baked and (cache.use_disk_cache or cache.use_external):
            yield from point_cache_files(owner, cache)
    for item, domain in simulations.fluid_domains(scene):
        if simulations.is_fluid_baked(domain):
            yield absolute(domain.cache_directory, item.library)
    yield from simulations.packed_from
    for item, modifier, bake in simulations.node_bakes(scene):
        folder = simulations.bake_folder(modifier, bake)
        if folder is not None:
            yield absolute(folder, item.library)


def unused_folders(scene: bpy.types.Scene) -> set[str]:
    """Caches that the scene names and that nothing complete is in: nobody has to send those."""
    return {
        absolute(domain.cache_directory, item.library)
        for item, domain in simulations.fluid_domains(scene)
        if not simulations.is_fluid_baked(domain)
    }
