"""Impacts of MuJoCo's contacts against mechanics, recorded sounds, and an ear in worlds of a task."""

from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from foreact.episodes.sound_clips import SoundSet
from foreact.sim.families import expert, sim_task
from foreact.sim.sound.impacts import Impact, ImpactListener, normal_forces
from foreact.sim.sound.materials import geom_materials
from foreact.sim.sound.record import RecordSoundsConfig, record_sounds
from foreact.sim.sound.worlds import WorldEar
from foreact.sim.taskworlds import TaskWorlds

DROP = """
<mujoco>
 <option timestep="0.001"/>
 <default><geom solref="-200000 -240"/></default>
 <worldbody>
  <geom name="floor" type="plane" size="1 1 0.1"/>
  <body name="ball" pos="0 0 {height}"><freejoint/><geom name="ball" type="sphere" size="0.02" mass="0.1"/></body>
 </worldbody>
</mujoco>
"""


def heard(height: float, seconds: float = 1.0) -> list[Impact]:
    model = mujoco.MjModel.from_xml_string(DROP.format(height=height))
    data, listener, found = mujoco.MjData(model), ImpactListener(model), []
    while data.time < seconds:
        mujoco.mj_step(model, data)
        found += listener.observe(data)
    return found


def test_a_dropped_ball_strikes_when_and_as_hard_as_mechanics_say() -> None:
    first, second, *rest = heard(0.32)
    # h = 0.3 m: t = sqrt(2 h / g), v = sqrt(2 g h); a bounce with restitution e takes m v (1 + e)
    assert first.time == pytest.approx(np.sqrt(0.6 / 9.81), abs=0.002) and first.bodies == (0, 1)
    flight = second.time - first.time
    back = 9.81 * flight / 2
    assert first.impulse == pytest.approx(0.1 * (np.sqrt(2 * 9.81 * 0.3) + back), rel=0.1)
    assert second.impulse < first.impulse and all(
        one.impulse > two.impulse for one, two in zip(rest, rest[1:], strict=False)
    )


def test_what_rests_is_silent() -> None:
    assert heard(0.0199) == []


@pytest.mark.parametrize("cone", ["elliptic", "pyramidal"])
@pytest.mark.parametrize("condim", [1, 3, 6])
def test_normal_forces_are_those_of_the_engine(cone: str, condim: int) -> None:
    text = DROP.format(height=0.0195).replace("<option", f'<option cone="{cone}"')
    model = mujoco.MjModel.from_xml_string(text.replace('mass="0.1"', f'mass="0.1" condim="{condim}"'))
    data, force = mujoco.MjData(model), np.zeros(6)
    mujoco.mj_step(model, data)
    mujoco.mj_contactForce(model, data, 0, force)
    assert data.ncon == 1 and force[0] > 0 and normal_forces(model, data) == pytest.approx([force[0]])


def test_materials_go_by_names() -> None:
    model = mujoco.MjModel.from_xml_string(DROP.format(height=1))
    assert geom_materials(model, {"ba*": "steel"}, "wood") == ("wood", "steel")
    with pytest.raises(ValueError, match="no geom or body is named like cup"):
        geom_materials(model, {"cup*": "steel"})
    with pytest.raises(ValueError, match="choose from steel, glass"):
        geom_materials(model, {"ball": "gold"})


def test_recorded_sounds_begin_where_the_set_says_and_a_stop_changes_nothing(tmp_path: Path) -> None:
    config = RecordSoundsConfig(tmp_path / "whole", clips=33, seconds=0.4, pause=0.1, seed=1000)

    class Stopped(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        raise Stopped

    record_sounds(config)
    with pytest.raises(Stopped):
        record_sounds(replace(config, out=tmp_path / "parts"), stop)
    record_sounds(replace(config, out=tmp_path / "parts", workers=2))
    whole, parts = SoundSet.open(tmp_path / "whole"), SoundSet.open(tmp_path / "parts")
    events = 0
    for index in range(33):
        assert np.array_equal(whole[index].audio, parts[index].audio)
        clip = whole[index]
        events += len(clip.times)
        if len(clip.times):
            assert not clip.audio[: clip.times[0]].any() and clip.audio[clip.times[0] :][:40].any()
    assert events > 33


@pytest.mark.parametrize("backend", ["cpu", "ref"])
def test_an_ear_hears_one_world_do_exactly_what_the_backend_did(backend: str) -> None:
    worlds = TaskWorlds(sim_task("arm-lift"), 2, backend, seed=1000)  # pyright: ignore[reportArgumentType]
    model, acts = worlds.backend.model, expert("arm-lift")
    assert acts is not None
    ear = WorldEar(worlds, geom_materials(model, {"table": "wood", "cube*": "plastic"}, "steel"), 1)
    worlds.reset(seeds=[1000, 1001])
    pieces = []
    for _ in range(60):
        worlds.step(acts(worlds.views))
        pieces.append(ear.sound())
    sound = np.concatenate(pieces)
    assert ear.apart == 0.0
    touched = {frozenset(model.body(body).name for body in each.bodies) for each in ear.impacts}
    assert any("cube" in pair and any("finger" in name for name in pair) for pair in touched)
    assert np.abs(sound).max() > 0.001 and len(sound) == pytest.approx(60 * worlds.views.dt * 16_000, abs=400)
    with pytest.raises(ValueError, match="there are 2"):
        WorldEar(worlds, (), 2)
