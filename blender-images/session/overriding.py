# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings changed for one command and put back after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy


@contextmanager
def overridden(target: Any, **values: Any) -> Iterator[None]:
    """Sets attributes that exist in this version of Blender; restores them in reverse order."""
    before: list[tuple[str, Any]] = []
    try:
        for name, value in values.items():
            if hasattr(target, name):
                before.append((name, getattr(target, name)))
                setattr(target, name, value)
        yield
    finally:
        for name, value in reversed(before):
            setattr(target, name, value)


@contextmanager
def image_format(settings: bpy.types.ImageFormatSettings, **values: Any) -> Iterator[None]:
    """Like overridden, but the file format comes first both ways: it decides which depths and modes exist."""
    names = ["file_format", "color_mode", "color_depth", *(name for name in values if name not in FIRST)]
    before = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
    try:
        for name in names:
            if name in values and name in before:
                setattr(settings, name, values[name])
        yield
    finally:
        for name, value in before.items():
            setattr(settings, name, value)


FIRST = ("file_format", "color_mode", "color_depth")
