"""HDF5 layouts, written here with h5py after what their tools write; and damage."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sources import Source, SourceError, hdf5_probe, open_collection

h5py = pytest.importorskip("h5py")
Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
STEPS = 4
FRAMES = RNG.integers(0, 256, (STEPS, 16, 24, 3), np.uint8)
DEPTHS = RNG.random((STEPS, 16, 24, 1), np.float32)
ACTIONS = RNG.random((STEPS, 7))
JOINT = ("Knuckle", "IntermediateBase", "IntermediateTip", "Tip")
HAND = ["Hand"] + [
    f"{f}{j}" for f in ("Thumb", "IndexFinger", "MiddleFinger", "RingFinger", "LittleFinger") for j in JOINT
]


def all_of(source: Source, stream: str) -> np.ndarray:
    return np.asarray(source.read_range(stream, 0, len(source.stamps(stream))))


def robomimic(path: Path, *, libver: str = "earliest") -> Path:
    with h5py.File(path, "w", libver=libver) as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "type": 1, "env_kwargs": {"control_freq": 20}})
        data.attrs["problem_info"] = json.dumps({"language_instruction": '"put the bowl on the plate"'})
        for demo in (10, 2):
            group = data.create_group(f"demo_{demo}")
            group.attrs["num_samples"] = STEPS
            group.attrs["model_file"] = "<mujoco/>"
            group["actions"] = ACTIONS + demo
            group["rewards"], group["dones"] = np.arange(STEPS, dtype=np.float64), np.arange(STEPS) == STEPS - 1
            group["states"] = RNG.random((STEPS, 9))
            group.create_dataset("obs/agentview_image", data=FRAMES, chunks=(1, 16, 24, 3), compression="gzip")
            group["obs/agentview_depth"] = DEPTHS
            group["obs/robot0_eef_pos"] = RNG.random((STEPS, 3))
            group["next_obs/robot0_eef_pos"] = RNG.random((STEPS, 3))
    return path


def aloha(path: Path, *, compressed: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.attrs["sim"], file.attrs["compress"] = False, compressed
        file["action"] = RNG.random((STEPS, 14), np.float32)
        file["observations/qpos"] = RNG.random((STEPS, 14), np.float32)
        file["observations/qvel"] = RNG.random((STEPS, 14), np.float32)
        for camera in ("cam_high", "cam_low"):
            if not compressed:
                file.create_dataset(f"observations/images/{camera}", data=FRAMES, chunks=(1, 16, 24, 3))
                continue
            rows = [np.frombuffer(jpeg(frame), np.uint8) for frame in FRAMES]
            width = max(map(len, rows)) + 7
            padded = np.stack([np.pad(row, (0, width - len(row))) for row in rows])
            file.create_dataset(f"observations/images/{camera}", data=padded, chunks=(1, width))
        if compressed:
            file["compress_len"] = np.zeros((2, STEPS))
    return path


def jpeg(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def motions(seed: int) -> np.ndarray:
    """Rigid motions (STEPS, 4, 4) float32."""
    rotations = pytest.importorskip("scipy.spatial.transform").Rotation
    found = np.tile(np.eye(4), (STEPS, 1, 1))
    found[:, :3, :3] = rotations.random(STEPS, rng=seed).as_matrix()
    found[:, :3, 3] = np.random.default_rng(seed).random((STEPS, 3))
    return found.astype(np.float32)


def egodex(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ["camera", "hip", "leftIndexFingerMetacarpal", *(f"left{each}" for each in HAND)]
    with h5py.File(path, "w") as file:
        file.attrs["llm_type"], file.attrs["which_llm_description"] = "reversible", "2"
        file.attrs["llm_description"], file.attrs["llm_description2"] = "plug it in", "unplug it"
        file["camera/intrinsic"] = np.array([[736.6, 0, 960], [0, 736.6, 540], [0, 0, 1]], np.float32)
        for seed, name in enumerate(names):
            file[f"transforms/{name}"] = motions(seed)
            if name != "camera":
                file[f"confidences/{name}"] = np.full(STEPS, seed / 32, np.float32)
    return path


def video(path: Path, frames: int) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for number in range(frames):
            picture = np.full((16, 32, 3), 60 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_robomimic_and_libero(tmp_path: Path, libver: str) -> None:
    collection = open_collection(robomimic(tmp_path / "lift.hdf5", libver=libver))
    assert collection.keys() == ("demo_2", "demo_10")
    with collection.open("demo_10") as source:
        assert np.array_equal(all_of(source, "action"), ACTIONS + 10)
        assert np.array_equal(all_of(source, "camera.agentview"), FRAMES)
        assert np.array_equal(all_of(source, "depth.agentview"), DEPTHS[..., 0])
        assert source.streams["depth.agentview"].shape == (16, 24)
        assert all_of(source, "done").tolist() == [False, False, False, True]
        assert set(source.streams) >= {"reward", "states", "obs.robot0_eef_pos"}
        action = source.streams["action"]
        assert (action.clock, action.rate_hz) == ("episode", 20.0)
        assert source.stamps("action").tolist() == [0, 50_000_000, 100_000_000, 150_000_000]
        assert source.task == "put the bowl on the plate"
        assert "model_file" not in source.metadata and source.metadata["num_samples"] == STEPS
        assert any(note.startswith("next_obs is left out") for note in source.notes)
    with pytest.raises(SourceError, match="closed"):
        source.read("action", 0)


@pytest.mark.parametrize("compressed", [False, True])
def test_aloha(tmp_path: Path, compressed: bool) -> None:
    for number in (10, 9):
        aloha(tmp_path / f"episode_{number}.hdf5", compressed=compressed)
    collection = open_collection(tmp_path)
    assert collection.keys() == ("episode_9", "episode_10")
    source = collection.open("episode_10")
    assert (source.streams["action"].clock, source.streams["action"].rate_hz) == ("step", None)
    assert set(source.streams) == {"action", "state", "observations.qvel", "camera.cam_high", "camera.cam_low"}
    expected = FRAMES
    if compressed:
        expected = np.stack([np.asarray(Image.open(io.BytesIO(jpeg(frame)))) for frame in FRAMES])
        assert any("red and blue" in note for note in source.notes)
    assert np.array_equal(all_of(source, "camera.cam_low"), expected)
    assert source.streams["camera.cam_low"].shape == (16, 24, 3)


def test_egodex_with_its_video(tmp_path: Path) -> None:
    file = egodex(tmp_path / "part1" / "unplug" / "0.hdf5")
    video(file.with_suffix(".mp4"), STEPS)
    collection = open_collection(tmp_path / "part1")
    assert collection.keys() == ("unplug.0",)
    rotations = pytest.importorskip("scipy.spatial.transform").Rotation
    with collection.open("unplug.0") as source:
        assert source.task == "unplug it"
        assert source.streams["camera.rgb"].shape == (16, 32, 3)
        frames = all_of(source, "camera.rgb")
        assert [round(float(frame.mean()) / 60) for frame in frames] == [0, 1, 2, 3]
        assert source.stamps("pose.camera").tolist() == [0, 33_333_333, 66_666_667, 100_000_000]
        assert source.streams["pose.camera"].rate_hz == 30.0
        poses, matrices = all_of(source, "pose.camera"), motions(0)
        assert np.array_equal(poses[:, :3], matrices[:, :3, 3].astype(np.float64))
        turned = rotations.from_quat(poses[:, [4, 5, 6, 3]]).as_matrix()
        assert np.abs(turned - matrices[:, :3, :3]).max() < 1e-6
        landmarks = all_of(source, "hand.left.landmarks")
        assert landmarks.shape == (STEPS, 21, 3)
        assert np.array_equal(landmarks[:, 0], all_of(source, "hand.left.wrist")[:, :3].astype(np.float32))
        assert np.array_equal(landmarks[:, 20], motions(3 + 20)[:, :3, 3])
        assert all_of(source, "hand.left.confidence").ravel().tolist() == [3 / 32] * STEPS
        assert all_of(source, "confidence").shape == (STEPS, 23)
        assert source.metadata["camera.rgb.intrinsic"] is not None
        assert any("right hand" in note for note in source.notes)


def test_egodex_rows_are_not_forced_onto_a_video_of_another_length(tmp_path: Path) -> None:
    file = egodex(tmp_path / "0.hdf5")
    source = open_collection(file).open("0")
    assert source.stamps("pose.hip").tolist() == list(range(STEPS))
    assert any("0.mp4 is not beside" in note for note in source.notes)
    video(file.with_suffix(".mp4"), STEPS + 1)
    with open_collection(file).open("0") as source:
        assert [source.streams[name].clock for name in ("pose.hip", "camera.rgb")] == ["step", "video"]
        assert any("5 frames, the file 4 rows" in note for note in source.notes)


def test_a_matrix_that_is_no_motion_is_an_error_and_one_that_is_missing_is_nan(tmp_path: Path) -> None:
    file = egodex(tmp_path / "0.hdf5")
    with h5py.File(file, "a") as opened:
        opened["transforms/hip"][1] = 0
        opened["transforms/hip"][2] = 2 * np.eye(4)
    source = open_collection(file).open("0")
    assert np.isnan(np.asarray(source.read("pose.hip", 1))).all()
    with pytest.raises(SourceError, match="transforms/hip.*not a rigid motion"):
        source.read("pose.hip", 2)


def test_what_could_lead_out_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(STEPS * 8))
    aloha(tmp_path / "other.hdf5")
    file = aloha(tmp_path / "sub" / "x.hdf5")
    layout = h5py.VirtualLayout((STEPS, 14), "f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "action", (STEPS, 14))
    with h5py.File(file, "a") as opened:
        opened["observations/external_link"] = h5py.ExternalLink("../other.hdf5", "/action")
        opened["observations/soft"] = h5py.SoftLink("/action")
        opened.create_dataset("observations/outside", (STEPS,), "f8", external=[("../secret.bin", 0, STEPS * 8)])
        opened.create_virtual_dataset("observations/virtual", layout)
        opened.create_dataset("observations/text", (STEPS,), h5py.string_dtype())
        opened.create_dataset("observations/pictures", (STEPS,), h5py.vlen_dtype(np.uint8))
    source = open_collection(file).open("x")
    names = ("external_link", "soft", "outside", "virtual", "text", "pictures")
    assert not any(name.rpartition(".")[2] in names for name in source.streams)
    for name in names:
        assert any(f"{name} is left out" in note for note in source.notes), name


def test_what_was_never_written_is_left_out(tmp_path: Path) -> None:
    file = aloha(tmp_path / "x.hdf5")
    with h5py.File(file, "a") as opened:
        opened.create_dataset("observations/never", (STEPS, 3), "f4")
        partly = opened.create_dataset("observations/images/partly", FRAMES.shape, "u1", chunks=(1, 16, 24, 3))
        partly[0] = FRAMES[0]
        opened.create_dataset("observations/bomb", (1 << 40, 1 << 10), "u1", chunks=(1 << 20, 1 << 10))
    source = open_collection(file).open("x")
    assert "observations/never is left out: it was never written" in source.notes
    assert "observations/images/partly is left out: 3 of 4 chunks were never written" in source.notes
    assert any(note.startswith("observations/bomb is left out") for note in source.notes)


def test_without_h5py_the_message_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = aloha(tmp_path / "x.hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'foreact\[data\]'"):
        open_collection(file)


def test_other_layouts_are_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["somewhere/else"] = np.zeros(3)
    with pytest.raises(SourceError, match=r"none of the layouts that are known.*somewhere"):
        open_collection(tmp_path / "x.h5")
    (tmp_path / "y.h5").write_bytes(b"no HDF5")
    with pytest.raises(SourceError, match=r"y.h5 cannot be opened as HDF5"):
        open_collection(tmp_path / "y.h5")


def test_a_file_that_crashes_or_hangs_the_library_is_an_error(
    tmp_path: Path, damage: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeds at which the library of h5py 3.16 did so; with another version they may be harmless."""
    monkeypatch.setattr(hdf5_probe, "SECONDS", 2.0)
    hdf5_probe.look_first(egodex(tmp_path / "x.hdf5"))
    for seed in (1561, 1801):
        file = egodex(tmp_path / f"{seed}.hdf5")
        file.write_bytes(damage(file.read_bytes(), seed))
        try:
            open_collection(file).open(str(seed)).close()
        except SourceError as error:
            assert file.name in str(error)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "crashes the HDF5 library"),
        ("input(); input()", "keeps the HDF5 library busy for more than 1 s"),
    ],
)
def test_a_look_that_ends_badly_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str
) -> None:
    stand_in = tmp_path / "interpreter"
    stand_in.write_text(f"#!{sys.executable}\n{code}\n")
    stand_in.chmod(0o755)
    hdf5_probe.stop()
    monkeypatch.setattr(hdf5_probe, "SECONDS", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", str(stand_in))
        with pytest.raises(SourceError, match=rf"x.hdf5 {message}"):
            open_collection(egodex(tmp_path / "x.hdf5"))
    monkeypatch.setattr(hdf5_probe, "SECONDS", 60.0)
    assert open_collection(tmp_path / "x.hdf5").keys() == ("x",), "the next look starts anew"


@pytest.mark.parametrize(
    ("make", "libver"), [(robomimic, "earliest"), (robomimic, "latest"), (aloha, ""), (egodex, "")]
)
def test_damage_is_an_error_or_harmless(
    tmp_path: Path, make: Callable[..., Path], libver: str, damage_in_a_process: Callable[..., dict[str, int]]
) -> None:
    file = make(tmp_path / "x.hdf5", **({"libver": libver} if libver else {}))
    counts = damage_in_a_process(file, file, 0, 130)
    assert counts["error"] > 30 and sum(counts.values()) == 130, counts
