# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenes at the edges of what is tiled: blender -b --factory-startup --python make-odd-cases.py -- FOLDER."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import bpy

OUT = sys.argv[sys.argv.index("--") + 1]
CASES: list[Callable[[bpy.types.Scene], None]] = []
Case = Callable[[bpy.types.Scene], None]


def case(make: Case) -> Case:
    """Registers a scene; its name is the function's."""
    CASES.append(make)
    return make


def material(name: str, color: tuple[float, float, float], emission: float = 0.0) -> bpy.types.Material:
    result = bpy.data.materials.new(name)
    result.use_nodes = True
    shader = result.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*color, 1)
    shader.inputs["Roughness"].default_value = 0.3
    if emission:
        shader.inputs["Emission Strength"].default_value = emission
        shader.inputs["Emission" if "Emission" in shader.inputs else "Emission Color"].default_value = (*color, 1)
    return result


def base() -> bpy.types.Scene:
    """Flat-shaded blocks on a plane: two runs of smooth meshes may differ, and that is not what is tested here."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_plane_add(size=20)
    bpy.context.object.data.materials.append(material("ground", (0.4, 0.4, 0.45)))
    for number in range(3):
        bpy.ops.mesh.primitive_cube_add(size=1.2, location=(number * 2 - 2, number * 0.7, 0.7), rotation=(0, 0, number))
        color = [(0.8, 0.2, 0.1), (0.1, 0.6, 0.3), (0.9, 0.8, 0.2)][number]
        bpy.context.object.data.materials.append(material(f"block {number}", color, 6.0 if number == 2 else 0.0))
        bpy.context.object.name = f"block {number}"
    block = bpy.data.objects["block 0"]
    block.keyframe_insert("location", frame=1)
    block.location.z = 2.5
    block.keyframe_insert("location", frame=5)
    bpy.ops.object.light_add(type="AREA", location=(3, -4, 6), rotation=(0.6, 0.3, 0))
    bpy.context.object.data.energy = 500
    bpy.ops.object.camera_add(location=(0, -9, 4), rotation=(1.2, 0, 0))
    scene.camera = bpy.context.object
    scene.world = bpy.data.worlds.new("world")
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 4
    scene.cycles.use_denoising = False
    scene.cycles.use_adaptive_sampling = False
    size(scene, 61, 37)
    scene.frame_start, scene.frame_end = 1, 5
    return scene


def size(scene: bpy.types.Scene, width: int, height: int, percentage: int = 100) -> None:
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = percentage


def border(scene: bpy.types.Scene, crop: bool, left: float, right: float, bottom: float, top: float) -> None:
    render = scene.render
    render.use_border, render.use_crop_to_border = True, crop
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = left, right, bottom, top


def blurred(scene: bpy.types.Scene) -> None:
    """A tree that looks at neighbours, so that a seam would show."""
    scene.use_nodes = True
    tree = scene.node_tree
    glare = tree.nodes.new("CompositorNodeGlare")
    glare.glare_type, glare.quality, glare.threshold, glare.size = "FOG_GLOW", "HIGH", 0.5, 6
    tree.links.new(tree.nodes["Render Layers"].outputs["Image"], glare.inputs["Image"])
    tree.links.new(glare.outputs["Image"], tree.nodes["Composite"].inputs["Image"])


@case
def narrow(scene: bpy.types.Scene) -> None:
    size(scene, 7, 333)


@case
def flat(scene: bpy.types.Scene) -> None:
    size(scene, 333, 7)
    blurred(scene)


@case
def single_pixel(scene: bpy.types.Scene) -> None:
    size(scene, 1, 1)


@case
def percentage_33(scene: bpy.types.Scene) -> None:
    size(scene, 193, 109, 33)
    blurred(scene)


@case
def pixel_aspect(scene: bpy.types.Scene) -> None:
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = 2.0, 1.0


@case
def pixel_aspect_tall(scene: bpy.types.Scene) -> None:
    size(scene, 53, 71, 77)
    scene.render.pixel_aspect_x, scene.render.pixel_aspect_y = 1.0, 1.37


@case
def border_crop(scene: bpy.types.Scene) -> None:
    border(scene, True, 0.131, 0.817, 0.223, 0.931)
    blurred(scene)


@case
def border_full(scene: bpy.types.Scene) -> None:
    border(scene, False, 0.131, 0.817, 0.223, 0.931)
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_vector = layer.use_pass_normal = True
    blurred(scene)


@case
def border_percentage_aspect(scene: bpy.types.Scene) -> None:
    size(scene, 211, 97, 41)
    scene.render.pixel_aspect_x = 1.6
    border(scene, True, 0.499, 0.999, 0.001, 0.5)


@case
def one_pixel_tiles(scene: bpy.types.Scene) -> None:
    size(scene, 5, 3)
    blurred(scene)


@case
def one_pixel_border(scene: bpy.types.Scene) -> None:
    size(scene, 61, 37)
    border(scene, True, 30.2 / 61, 31.2 / 61, 11.2 / 37, 12.2 / 37)


@case
def panorama(scene: bpy.types.Scene) -> None:
    size(scene, 64, 32)
    scene.camera.location.z = 2
    scene.camera.data.type = "PANO"
    where = scene.camera.data.cycles if bpy.app.version < (4, 0, 0) else scene.camera.data
    where.panorama_type = "EQUIRECTANGULAR"


@case
def fisheye(scene: bpy.types.Scene) -> None:
    scene.camera.data.type = "PANO"
    where = scene.camera.data.cycles if bpy.app.version < (4, 0, 0) else scene.camera.data
    where.panorama_type = "FISHEYE_EQUISOLID"
    scene.render.film_transparent = True


@case
def ortho_shift(scene: bpy.types.Scene) -> None:
    data = scene.camera.data
    data.type, data.ortho_scale, data.shift_x, data.shift_y = "ORTHO", 7.3, 0.21, -0.13


@case
def motion_blur_dof(scene: bpy.types.Scene) -> None:
    scene.render.use_motion_blur = True
    scene.cycles.rolling_shutter_type = "TOP"
    dof = scene.camera.data.dof
    dof.use_dof, dof.focus_distance, dof.aperture_fstop, dof.aperture_blades = True, 9, 0.5, 5
    scene.camera.keyframe_insert("location", frame=1)
    scene.camera.location.x = 2
    scene.camera.keyframe_insert("location", frame=5)


@case
def transparent_film(scene: bpy.types.Scene) -> None:
    scene.render.film_transparent = True
    bpy.data.objects["Plane"].hide_render = True
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.image_settings.color_depth = "16"


@case
def layers(scene: bpy.types.Scene) -> None:
    second = scene.view_layers.new("Second.layer")
    second.use_pass_diffuse_color = second.use_pass_shadow = True
    second.samples = 7
    scene.view_layers.new("unused").use = False
    blurred(scene)


@case
def layer_named_composite(scene: bpy.types.Scene) -> None:
    """Blender's own name for what the compositor makes."""
    scene.view_layers.new("Composite").use_pass_z = True


@case
def cryptomatte(scene: bpy.types.Scene) -> None:
    layer = scene.view_layers[0]
    layer.use_pass_cryptomatte_object = layer.use_pass_cryptomatte_material = layer.use_pass_cryptomatte_asset = True
    layer.pass_cryptomatte_depth = 4
    scene.use_nodes = True
    tree = scene.node_tree
    node = tree.nodes.new("CompositorNodeCryptomatteV2")
    node.matte_id = "block 1,block 2"
    tree.links.new(tree.nodes["Render Layers"].outputs["Image"], node.inputs["Image"])
    tree.links.new(node.outputs["Image"], tree.nodes["Composite"].inputs["Image"])


@case
def every_pass(scene: bpy.types.Scene) -> None:
    """Whatever this Blender can be asked for; colours of its own and a light group too."""
    layer = scene.view_layers[0]
    for owner in (layer, layer.cycles):
        for name in [prop.identifier for prop in owner.bl_rna.properties]:
            if name.startswith(("use_pass_", "pass_debug")) and isinstance(getattr(owner, name), bool):
                setattr(owner, name, True)
    bpy.data.objects["block 1"].pass_index = 3
    aov = layer.aovs.add()
    aov.name = "Heat"
    tree = bpy.data.materials["block 0"].node_tree
    node = tree.nodes.new("ShaderNodeOutputAOV")
    node.name = "Heat"
    setattr(node, "aov_name" if hasattr(node, "aov_name") else "name", "Heat")
    node.inputs["Color"].default_value = (0.3, 0.6, 0.9, 1)
    if hasattr(layer, "lightgroups"):
        layer.lightgroups.add().name = "key"
        bpy.data.objects["Area"].lightgroup = "key"


@case
def volumes(scene: bpy.types.Scene) -> None:
    fog = bpy.data.materials.new("fog")
    fog.use_nodes = True
    tree = fog.node_tree
    tree.nodes.clear()
    scatter, output = tree.nodes.new("ShaderNodeVolumePrincipled"), tree.nodes.new("ShaderNodeOutputMaterial")
    scatter.inputs["Density"].default_value = 0.3
    tree.links.new(scatter.outputs[0], output.inputs["Volume"])
    bpy.ops.mesh.primitive_cube_add(size=6, location=(0, 0, 2))
    bpy.context.object.data.materials.append(fog)
    scene.view_layers[0].cycles.use_pass_volume_direct = True


@case
def adaptive_sampling(scene: bpy.types.Scene) -> None:
    """A pixel whose neighbour is noisy goes on, whoever renders that neighbour."""
    scene.cycles.samples = 64
    scene.cycles.use_adaptive_sampling = True
    scene.cycles.adaptive_threshold, scene.cycles.adaptive_min_samples = 0.04, 4


@case
def adaptive_border(scene: bpy.types.Scene) -> None:
    """Nothing is rendered beyond the scene's own border, so nothing there has a say."""
    adaptive_sampling(scene)
    border(scene, True, 0.131, 0.817, 0.223, 0.931)


@case
def light_tree_off(scene: bpy.types.Scene) -> None:
    scene.cycles.use_light_tree = False
    for number in range(4):
        bpy.ops.object.light_add(type="POINT", location=(number - 2, -3, 3))
        bpy.context.object.data.energy = 60


@case
def light_tree_on(scene: bpy.types.Scene) -> None:
    light_tree_off(scene)
    scene.cycles.use_light_tree = True


@case
def denoise_flag(scene: bpy.types.Scene) -> None:
    """Bare Blender without a denoiser ends with an error here; the farm says so and gives the picture undenoised."""
    scene.cycles.use_denoising = True


@case
def auto_tile(scene: bpy.types.Scene) -> None:
    """Cycles' own tiles, smaller than the farm's."""
    scene.cycles.use_auto_tile, scene.cycles.tile_size = True, 8
    size(scene, 80, 48)


@case
def adaptive_subdivision(scene: bpy.types.Scene) -> None:
    """Diced for the camera: as finely as the full frame needs, wherever the border is."""
    scene.cycles.feature_set = "EXPERIMENTAL"
    scene.cycles.dicing_rate, scene.cycles.offscreen_dicing_scale = 2.0, 4.0
    block = bpy.data.objects["block 1"]
    modifier = block.modifiers.new("subdivision", "SUBSURF")
    modifier.subdivision_type = "SIMPLE"
    block.cycles.use_adaptive_subdivision = True
    paint = bpy.data.materials["block 1"]
    tree = paint.node_tree
    bump, noise = tree.nodes.new("ShaderNodeDisplacement"), tree.nodes.new("ShaderNodeTexNoise")
    tree.links.new(noise.outputs["Fac"], bump.inputs["Height"])
    tree.links.new(bump.outputs[0], tree.nodes["Material Output"].inputs["Displacement"])
    where = paint.cycles if bpy.app.version < (4, 1, 0) else paint
    where.displacement_method = "DISPLACEMENT"


@case
def simplify(scene: bpy.types.Scene) -> None:
    """Objects outside the camera's view are left out, textures made smaller: of the full frame, not of a tile."""
    scene.render.use_simplify = True
    scene.cycles.use_camera_cull, scene.cycles.camera_cull_margin = True, 0.01
    scene.cycles.texture_limit_render = "128"
    image = bpy.data.images.new("checker", 256, 256)
    image.generated_type = "COLOR_GRID"
    image.pack()
    tree = bpy.data.materials["ground"].node_tree
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    tree.links.new(node.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])
    for item in bpy.data.objects:
        item.cycles.use_camera_cull = True


@case
def wide_filter(scene: bpy.types.Scene) -> None:
    """A pixel takes light from well inside the neighbouring tile."""
    scene.cycles.filter_width = 8.0
    scene.cycles.pixel_filter_type = "GAUSSIAN"


@case
def film_settings(scene: bpy.types.Scene) -> None:
    scene.cycles.film_exposure = 1.7
    scene.view_settings.exposure, scene.view_settings.gamma = 0.3, 1.2
    scene.view_settings.look = next(look for look in ("High Contrast", "AgX - High Contrast") if try_look(scene, look))
    scene.render.dither_intensity = 2.0
    scene.cycles.sample_clamp_indirect = 2.0
    scene.cycles.seed = 11
    blurred(scene)


def try_look(scene: bpy.types.Scene, look: str) -> bool:
    try:
        scene.view_settings.look = look
    except TypeError:
        return False
    return True


if __name__ == "__main__":
    for make in CASES:
        make(base())
        path = os.path.join(OUT, f"{make.__name__}.blend")
        bpy.ops.wm.save_as_mainfile(filepath=path, compress=False)
    with open(os.path.join(OUT, "cases.txt"), "w", encoding="ascii") as file:
        file.write("\n".join(make.__name__ for make in CASES))
