# SPDX-License-Identifier: GPL-3.0-or-later
"""
Layers of EXR files against those of others, by name: blender -b --python compare-exr.py -- PAIRS.json RESULT.json.
Reads with OpenImageIO alone, so that it does not share a mistake with what it checks.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import OpenImageIO as oiio


def read(path: str) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, str]]:
    """Channels (less what a compositor made) as bits, how each is stored, and the cryptomatte attributes."""
    reader = oiio.ImageInput.open(path)
    spec = reader.spec()
    values = np.asarray(reader.read_image(0, 0, 0, spec.nchannels, oiio.FLOAT), dtype=np.float32)
    values = values.reshape(spec.height, spec.width, spec.nchannels)
    formats = spec.channelformats or (spec.format,) * spec.nchannels
    kinds = {name: str(kind) for name, kind in zip(spec.channelnames, formats, strict=True)}
    attributes = {item.name: item.value for item in spec.extra_attribs if item.name.startswith("cryptomatte/")}
    reader.close()
    return {name: values[:, :, index] for index, name in enumerate(spec.channelnames)}, kinds, attributes


def compare(first: str, second: str, ignored: str | None) -> dict[str, Any]:
    """What differs; `ignored` is the beginning of channel names that only the first may have."""
    one, one_kinds, one_attributes = read(first)
    two, two_kinds, two_attributes = read(second)
    if ignored is not None:
        one = {name: plane for name, plane in one.items() if not name.startswith(ignored)}
    shared = sorted(set(one) & set(two))
    if any(one[name].shape != two[name].shape for name in shared):
        return {"differing": None, "shapes": [one[shared[0]].shape, two[shared[0]].shape]}
    # A value equals itself, NaN too.
    differing = {
        name: int(((one[name] != two[name]) & ~(np.isnan(one[name]) & np.isnan(two[name]))).sum()) for name in shared
    }
    return {
        "values": int(sum(one[name].size for name in shared)),
        "differing": sum(differing.values()),
        "channels": [name for name, count in differing.items() if count > 0],
        "missing": sorted(set(one) ^ set(two)),
        "formats": [name for name in shared if one_kinds[name] != two_kinds[name]],
        "attributes": sorted(
            name
            for name in set(one_attributes) | set(two_attributes)
            if one_attributes.get(name) != two_attributes.get(name)
        ),
        "attributeCount": len(two_attributes),
    }


source, target = sys.argv[sys.argv.index("--") + 1 :]
with open(source, encoding="utf-8") as file:
    pairs = json.load(file)
results = [compare(pair["first"], pair["second"], pair.get("ignored")) for pair in pairs]
with open(target, "w", encoding="utf-8") as file:
    json.dump(results, file)
