# SPDX-License-Identifier: GPL-3.0-or-later
"""
A scene denoised as by a build that has OpenImageDenoise: blender -b SCENE --python check-denoising.py -- OUT_FOLDER.
The build here may have none; its Denoise node then gives what it got, so that everything but the denoiser itself
runs for real. Writes whole.png, tiled.png and report.json.
"""

from __future__ import annotations

import json
import os
import sys

import bpy

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "blender-images"))

from session import compositing, denoising, finishing, inspection, pixels, region, rendering, whole_frame  # noqa: E402

FRAME = 2
(folder,) = sys.argv[sys.argv.index("--") + 1 :]
denoising.can_denoise = lambda: True
scene = bpy.context.scene
scene.cycles.use_denoising = True
scene.cycles.denoising_prefilter = "FAST"
scene.cycles.denoising_input_passes = "RGB_ALBEDO"
tree = scene.node_tree
layers = next(node for node in tree.nodes if node.type == "R_LAYERS")
# The scene's own use of the picture as it was before denoising.
mixing = next(node for node in tree.nodes if node.type == "BLUR")
tree.links.new(layers.outputs["Noisy Image"], mixing.inputs["Image"])


def silent(_fraction: float, _words: str) -> None:
    """Progress that nobody looks at."""


def path(name: str) -> str:
    return os.path.join(folder, name)


whole = region.border_rect(scene)
common = {
    "frame": FRAME, "region": whole, "picture": region.picture_rect(scene), "precision": "float",
    "exrCodec": "ZIP", "output": {"format": "png"}, "extraPrefix": None,
}
whole_frame.frame({**common, "exrOutput": path("whole.exr"), "pictureOutput": path("whole.png")}, silent)
half = whole["width"] // 2
tiles = []
for number, (x, width) in enumerate(((whole["x"], half), (whole["x"] + half, whole["width"] - half))):
    rect = {**whole, "x": x, "width": width}
    rendering.render({"frame": FRAME, "rect": rect, "precision": "float", "output": path(f"{number}.exr")}, silent)
    tiles.append({"rect": rect, "path": path(f"{number}.exr")})
finishing.finish(
    {**common, "tiles": tiles, "exrOutput": path("tiled.exr"), "pictureOutput": path("tiled.png")}, silent
)
with finishing.copied(scene) as copy:
    compositing.feed_from_file(copy, bpy.data.images.load(path("tiled.exr")))
    links = [
        {"from": [link.from_node.type, link.from_socket.name], "to": [link.to_node.type, link.to_socket.name]}
        for link in copy.node_tree.links
        if "DENOISE" in (link.from_node.type, link.to_node.type) or link.to_node.type == "BLUR"
    ]
    nodes = [node for node in copy.node_tree.nodes if node.type == "DENOISE"]
    report = {
        "links": links,
        "prefilters": [node.prefilter for node in nodes],
        "channels": pixels.decode(path("whole.exr")).names,
        "unsupported": inspection.unsupported(scene),
        "storesPasses": scene.view_layers[0].cycles.denoising_store_passes,
        "usesDenoising": scene.cycles.use_denoising,
    }
with open(path("report.json"), "w", encoding="utf-8") as file:
    json.dump(report, file)
