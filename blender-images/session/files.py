# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file that the scene, or a library of it, reads from disk."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from typing import TypedDict

import bpy

# A cache folder of a long simulation has a file or two per frame; more than this in one folder is a mistake.
MAX_FOLDER_FILES = 100_000
WINDOWS_PATH = re.compile(r"^[A-Za-z]:[\\/]")
LAST_NUMBER = re.compile(r"(\d+)(?!.*\d)")


class SceneFile(TypedDict):
    """As in platform/render/runtime.ts."""

    path: str
    kind: str
    exists: bool
    outsideRoot: bool


def absolute(path: str, library: bpy.types.Library | None) -> str:
    """Where Blender looks for a path that is stored in an ID of this library."""
    return os.path.normpath(bpy.path.abspath(path, library=library))


def kinds() -> dict[str, str]:
    """The kind of every path that a typed collection knows."""
    found: dict[str, str] = {}

    def note(items: Iterable[bpy.types.ID], kind: str) -> None:
        for item in items:
            path = getattr(item, "filepath", "")
            if path:
                found[absolute(path, item.library)] = kind

    for image in bpy.data.images:
        if image.filepath:
            special = {"SEQUENCE": "sequence", "TILED": "udim", "MOVIE": "movie"}
            found[absolute(image.filepath, image.library)] = special.get(image.source, "image")
    note(bpy.data.movieclips, "movie")
    note(bpy.data.sounds, "sound")
    note(bpy.data.fonts, "font")
    note(bpy.data.volumes, "volume")
    note(bpy.data.cache_files, "cache")
    for library in bpy.data.libraries:
        found[absolute(library.filepath, None)] = "library"
    return found


def sequence_files(path: str) -> list[str]:
    """The files of a numbered sequence that lie beside this one of them."""
    folder, name = os.path.split(path)
    match = LAST_NUMBER.search(name)
    if match is None or not os.path.isdir(folder):
        return []
    pattern = re.compile(re.escape(name[: match.start()]) + r"\d+" + re.escape(name[match.end() :]))
    return sorted(os.path.join(folder, entry) for entry in os.listdir(folder) if pattern.fullmatch(entry))


def udim_files(path: str) -> list[str]:
    """One path per tile of a tiled image."""
    for image in bpy.data.images:
        if image.source == "TILED" and absolute(image.filepath, image.library) == path:
            numbers = [tile.number for tile in image.tiles]
            return [udim_name(path, number) for number in numbers]
    return []


def udim_name(path: str, number: int) -> str:
    """Puts one tile's place into a name with a token."""
    column, row = (number - 1001) % 10 + 1, (number - 1001) // 10 + 1
    return path.replace("<UDIM>", str(number)).replace("<UVTILE>", f"u{column}_v{row}")


def folder_files(path: str) -> list[str]:
    """All files below a folder, as caches have them."""
    found: list[str] = []
    for folder, _folders, names in os.walk(path):
        found.extend(os.path.join(folder, name) for name in sorted(names))
        if len(found) > MAX_FOLDER_FILES:
            break
    return found[:MAX_FOLDER_FILES]


def expand(path: str, kind: str) -> list[str]:
    """The files that one stored path stands for; the path itself where it stands for nothing that is there."""
    if kind == "udim":
        return udim_files(path) or [path]
    if kind == "sequence" or (kind == "volume" and not os.path.exists(path)):
        return sequence_files(path) or [path]
    if os.path.isdir(path):
        return folder_files(path) or [path]
    return [path]


def stored_paths() -> Iterator[tuple[str, str]]:
    """(as stored, where Blender looks) of every path; both lists come in the same order."""
    stored = bpy.utils.blend_paths(absolute=False, packed=False, local=False)
    looked_up = bpy.utils.blend_paths(absolute=True, packed=False, local=False)
    yield from zip(stored, looked_up, strict=True)


def scene_files(root: str, caches: Collection[str], unused: Collection[str]) -> list[SceneFile]:
    """
    The list, sorted by path, each file once. `caches`: where simulations have kept what they need; `unused`: what the
    scene names and does not need.
    """
    known = {**kinds(), **{path: "cache" for path in caches}}
    found: dict[str, SceneFile] = {}
    prefix = root.rstrip("/") + "/"
    places: dict[str, str] = {}
    for stored, looked_up in stored_paths():
        path = os.path.normpath(looked_up)
        # Blender's own Bfont and unset paths are no files.
        if stored and stored != "<builtin>" and path not in unused:
            places[stored] = path
    seen = set(places.values())
    places.update({path: path for path in caches if path not in seen})
    for stored, path in places.items():
        kind = known.get(path, "other")
        if WINDOWS_PATH.match(stored) or not path.startswith(prefix):
            found[stored] = {"path": stored, "kind": kind, "exists": False, "outsideRoot": True}
            continue
        for file in expand(path, kind):
            inside = file[len(prefix) :]
            found[inside] = {"path": inside, "kind": kind, "exists": os.path.exists(file), "outsideRoot": False}
    return [found[name] for name in sorted(found)]
