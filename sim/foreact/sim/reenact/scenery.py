"""A floor, a sky and light for pictures; nothing of it touches or weighs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mujoco

__all__ = ["furnish"]

FLOOR = (0.45, 0.48, 0.52, 1.0)
SKY = (0.78, 0.84, 0.9), (0.55, 0.63, 0.72)  # at the top and at the horizon
LIGHT = ((1.5, -1.0, 3.0), (-0.45, 0.3, -0.9))  # place [m] and direction
AMBIENT = 0.4


def furnish(spec: mujoco.MjSpec) -> None:
    """Add what a model lacks to be seen: a floor at height 0, a sky, a light.

    Args:
        spec: Not compiled yet.
    """
    import mujoco

    world = spec.worldbody
    if not any(geom.type == mujoco.mjtGeom.mjGEOM_PLANE for geom in spec.geoms):
        world.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[0, 0, 0.05], rgba=FLOOR, contype=0, conaffinity=0)
    if not any(texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX for texture in spec.textures):
        spec.add_texture(
            name="foreact_sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=SKY[0], rgb2=SKY[1], width=64, height=384,
        )  # fmt: skip
    if not spec.lights:
        place, direction = LIGHT
        world.add_light(pos=place, dir=direction, type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, diffuse=[0.6] * 3)
    spec.visual.headlight.ambient = [AMBIENT] * 3
