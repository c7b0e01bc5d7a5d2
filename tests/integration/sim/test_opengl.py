"""OpenGL's pictures against the ray tracer's, in a Python of its own: the library is chosen before it starts."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

OPENGL = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import test_pictures as known, numpy as np
from foreact.sim.pictures import WorldPictures, camera_specs
cameras = (known.ASKEW, *camera_specs(known.MODEL, ["above", "rider"], 48, 40))
worlds = known.scattered(2)
known.random_geom_colours(["floor"])(known.Views(worlds, 0.1), np.arange(2), known.WorldRandom(0, 2))
try:
    painter = WorldPictures(known.MODEL, cameras, 2, renderer="opengl")
except RuntimeError as error:
    sys.exit(str(error))
tracer = WorldPictures(known.MODEL, cameras, 2)
with painter:
    # worlds with a floor of their own colour, then worlds without
    for each in (worlds, known.stage(2)):
        raster, traced = painter.draw(each), tracer.draw(each)
        assert raster.keys() == traced.keys()
        for key, image in traced.items():
            assert raster[key].shape == image.shape and raster[key].dtype == image.dtype, key
            # spheres are polygons to OpenGL, and its edges are smooth
            allowed = 5 if key.endswith("depth") else 0 if key.endswith("segmentation") else 2
            differ = np.abs(raster[key].astype(int) - image) > allowed
            assert differ.mean() < 0.02, (key, differ.mean())
"""


def in_another_python(library: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "MUJOCO_GL": library}
    return subprocess.run([sys.executable, "-c", OPENGL], env=environment, capture_output=True, text=True, check=False)


def test_opengl_shows_what_the_ray_tracer_shows() -> None:
    done = in_another_python("egl")
    if "OpenGL is not available here" in done.stderr:
        pytest.skip("no EGL library draws on this machine")
    assert done.returncode == 0, done.stderr


def test_without_opengl_its_renderer_is_an_error_that_says_what_to_do() -> None:
    done = in_another_python("disable")
    assert done.returncode == 1
    assert "Start Python with MUJOCO_GL=egl" in done.stderr
