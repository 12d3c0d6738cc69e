# SPDX-License-Identifier: GPL-3.0-or-later
"""The vectors of test/proof as Python makes them: blender -b --python check-vectors.py -- IN OUT."""

from __future__ import annotations

import io
import json
import os
import sys

import numpy as np

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "blender-images"))

from session import pixels  # noqa: E402

source, target = sys.argv[sys.argv.index("--") + 1 :]
with open(source, encoding="utf-8") as file:
    vectors = json.load(file)
results = []
for vector in vectors:
    bits = np.array([int(value, 16) for value in vector["bits"]], dtype=np.uint32)
    planes = bits.view(np.float32).reshape(len(vector["channels"]), vector["height"], vector["width"])
    names = sorted(vector["channels"], key=pixels.code_units)
    image = pixels.Pixels(names, planes)
    raw = io.BytesIO()
    pixels.write_raw(image, slice(None), slice(None), raw)
    results.append({"channels": names, "canonical": raw.getvalue().hex(), "digest": pixels.digest(image)})
with open(target, "w", encoding="utf-8") as file:
    json.dump(results, file)
