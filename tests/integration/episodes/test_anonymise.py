"""What a detector finds is blurred and nothing else; sound and place are in no byte of what is written."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("mcap")

import onnx
import onnx.numpy_helper
from PIL import Image

from foreact.episodes.anonymise import ModelError, anonymised
from foreact.episodes.anonymise_detector import Detector
from foreact.episodes.convert import ConvertConfig, convert
from foreact.episodes.sources import open_collection
from foreact.episodes.sources.encoded import Stills
from foreact.episodes.sources.mcap_writer import write_mcap
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.sources.protocol import Source, Stream

UINT8, FLOAT = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
DATA = Path(__file__).parents[4] / "shared" / "data"
PAIR = [("boxes", ["n", 4]), ("scores", ["n"])]


def save(path: Path, nodes: list[Any], given: Any, outputs: list[tuple[str, list[Any]]], **said: str) -> Path:
    """An ONNX file with one input (type, shape) and outputs of floats."""
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("picture", *given)],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {f"foreact.{key}": value for key, value in said.items()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def constant(name: str, values: Any) -> Any:
    array = np.asarray(values, np.float32)
    return onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array))


def fixed(path: Path, boxes: Any, scores: Any, **said: str) -> Path:
    """A detector that always says the same; NHWC uint8 of any size."""
    nodes = [constant("boxes", boxes), constant("scores", scores)]
    return save(path, nodes, (UINT8, [1, "h", "w", 3]), PAIR, turns="0", **said)


def sees_red(path: Path, size: tuple[Any, Any] = ("h", "w"), **said: str) -> Path:
    """A detector of the rectangle around what is purely red: float NCHW in 0 to 1, one output (1, 1, 5)."""
    node, parts = onnx.helper.make_node, []
    parts.append(constant("weights", np.reshape([1.0, -1, -1], (1, 3, 1, 1))))
    parts.append(node("Conv", ["picture", "weights"], ["redness"]))
    parts.append(constant("half", 0.5))
    parts.append(node("Greater", ["redness", "half"], ["is_red"]))
    parts.append(node("Cast", ["is_red"], ["mask"], to=FLOAT))
    ends = {}
    for name, axis in (("x", 2), ("y", 3)):
        parts.append(node("ReduceMax", ["mask"], [f"any_{name}"], axes=[axis], keepdims=0))  # (1, 1, length)
        for end, last in (("first", 0), ("last", 1)):
            found = f"{end}_{name}"
            named: Any = {"axis": 2, "keepdims": 1, "select_last_index": last}
            parts.append(node("ArgMax", [f"any_{name}"], [f"i_{found}"], **named))
            parts.append(node("Cast", [f"i_{found}"], [found], to=FLOAT))
            ends[found] = found
    parts += [constant("one", 1.0), constant("two", 2.0)]
    for name in ("x", "y"):
        parts.append(node("Add", [f"last_{name}", "one"], [f"end_{name}"]))
        parts.append(node("Sub", [f"end_{name}", f"first_{name}"], [f"size_{name}"]))
        parts.append(node("Add", [f"end_{name}", f"first_{name}"], [f"sum_{name}"]))
        parts.append(node("Div", [f"sum_{name}", "two"], [f"middle_{name}"]))
    parts.append(node("ReduceMax", ["mask"], ["found"], axes=[2, 3], keepdims=0))
    parts.append(node("Unsqueeze", ["found", "axis"], ["score"]))
    axis: Any = onnx.numpy_helper.from_array(np.array([2]))
    parts.insert(0, node("Constant", [], ["axis"], value=axis))
    parts.append(node("Concat", ["middle_x", "middle_y", "size_x", "size_y", "score"], ["rows"], axis=2))
    return save(path, parts, (FLOAT, [1, 3, *size]), [("rows", [1, 1, 5])], **said)


def recording(pictures: np.ndarray, stamps: np.ndarray | None = None, **more: Any) -> PartsSource:
    stamps = np.arange(len(pictures), dtype=np.int64) * 10**8 if stamps is None else stamps
    stream = Stream("camera.rgb", "image", pictures.shape[1:], "uint8")
    packed = Stills(lambda index: png(pictures[index]))
    part = Part(stream, stamps, lambda index: pictures[index], lambda a, b: pictures[a:b], packed)
    return PartsSource("one", [part, *more.pop("parts", [])], **more)


def png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def noise(count: int, height: int = 96, width: int = 128) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, (count, height, width, 3), np.uint8)


def with_red(pictures: np.ndarray, index: int, place: tuple[slice, slice]) -> np.ndarray:
    pictures[index][place] = (255, 0, 0)
    return pictures


def changed(before: np.ndarray, after: np.ndarray) -> tuple[int, int, int, int] | None:
    """The rectangle in which two pictures differ: top, bottom, left, right."""
    rows, columns = np.nonzero((before != after).any(-1))
    return (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) if len(rows) else None


def test_boxes_are_blurred_and_the_rest_is_equal_bit_for_bit(tmp_path: Path) -> None:
    pictures = noise(3)
    model = fixed(tmp_path / "faces.onnx", [[20, 30, 60, 70], [100, 0, 120, 10]], [0.9, 0.1])
    with anonymised(recording(pictures), model) as hidden:
        seen = np.array(hidden.read_range("camera.rgb", 0, 3))
        assert hidden.encoded("camera.rgb") is None, "the original bytes of a blurred picture"
        assert any("camera.rgb: what faces.onnx finds" in note for note in hidden.notes)
    # 40 by 40 px, 1.4 times as large around (40, 50); the second box has too low a score
    inside = np.zeros(pictures.shape[1:3], bool)
    inside[22:78, 12:68] = True
    np.testing.assert_array_equal(seen[:, ~inside], pictures[:, ~inside])
    assert (seen[:, inside] != pictures[:, inside]).any(-1).mean() > 0.9
    assert seen[:, inside].std() < pictures[:, inside].std() / 5, "noise averaged over blocks of 14 px is flat"


def test_what_lay_inside_a_block_is_gone(tmp_path: Path) -> None:
    model = fixed(tmp_path / "faces.onnx", [[0, 0, 128, 96]], [1.0])
    one, other = noise(1), noise(1)
    for top in range(0, 96, 2):  # the same means, the pixels of a block in another order
        one[0, top : top + 2] = one[0, top]
        other[0, top : top + 2] = one[0, top, ::1]
    other[0, :, :32] = np.roll(one[0, :, :32], 7, axis=1)
    assert (one != other).any()
    blurs = [np.array(anonymised(recording(each), model).read("camera.rgb", 0)) for each in (one, other)]
    np.testing.assert_array_equal(blurs[0], blurs[1])


@pytest.mark.parametrize("size", [("h", "w"), (64, 64)])
def test_a_box_is_computed_from_the_picture_and_found_in_any_turn_and_size(tmp_path: Path, size: Any) -> None:
    model = sees_red(tmp_path / "red.onnx", size)
    place = slice(40, 60), slice(16, 48)
    picture = with_red(noise(1), 0, place)[0]
    boxes = Detector(model).find(picture)
    assert boxes.shape == (4, 4), "one for each quarter turn"
    slack = 0.5 if size == ("h", "w") else 3.0  # pixels of a smaller picture are larger
    np.testing.assert_allclose(boxes, np.tile([16.0, 40, 48, 60], (4, 1)), atol=slack)
    assert not len(Detector(model).find(noise(1)[0]))


def test_neighbours_in_time_are_blurred_too_and_reading_twice_gives_the_same(tmp_path: Path) -> None:
    model = sees_red(tmp_path / "red.onnx")
    pictures = with_red(noise(6), 4, (slice(40, 60), slice(20, 40)))
    stamps = np.array([0, 1, 4, 2, 3, 5], np.int64) * 10**8  # picture 4 is between 3 and 2
    with anonymised(recording(pictures, stamps), model) as hidden:
        seen = [np.array(hidden.read("camera.rgb", index)) for index in (0, 1, 2, 3, 4, 5)]
        for index in (4, 0, 2):
            np.testing.assert_array_equal(hidden.read("camera.rgb", index), seen[index])
    blurred = [changed(a, b) is not None for a, b in zip(pictures, seen, strict=True)]
    assert blurred == [False, False, True, True, True, False]
    assert changed(pictures[4], seen[4]) == (36, 64, 16, 44)
    assert not ((seen[4][..., 0] > 250) & (seen[4][..., 1] < 5)).any()


def test_grey_pictures_are_blurred(tmp_path: Path) -> None:
    grey = noise(2)[..., 0]
    source = PartsSource("one", [array_part(Stream("eye", "image", (96, 128), "uint8"), np.arange(2), grey)])
    seen = anonymised(source, fixed(tmp_path / "m.onnx", [[0.25, 0.25, 0.5, 0.5]], [0.9])).read("eye", 0)
    assert isinstance(seen, np.ndarray) and seen.dtype == np.uint8
    rows, columns = np.nonzero(seen != grey[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 52, 25, 70), "shares of the picture"


Outputs = list[tuple[str, list[Any]]]


@pytest.mark.parametrize(
    ("given", "outputs", "said"),
    [
        ((UINT8, [1, "h", "w", 4]), PAIR, "picture tensor(uint8) (1, 'h', 'w', 4)"),
        ((onnx.TensorProto.INT64, [1, 3, "h", "w"]), PAIR, "tensor(int64)"),
        ((FLOAT, [1, 3, "h", "w"]), [("boxes", ["n", 5]), ("scores", ["n"])], "boxes tensor(float) (1, 5)"),
        ((FLOAT, [1, 3, "h", "w"]), [("classes", [1, 1000])], "classes tensor(float) (1, 1000)"),
        ((FLOAT, [1, 3, "h", "w"]), [("rows", [1, 84, 8400])], "(1, 84, 8400)"),
    ],
)
def test_other_models_are_refused_by_what_they_have(tmp_path: Path, given: Any, outputs: Outputs, said: str) -> None:
    nodes = [constant(name, np.zeros([1 if isinstance(e, str) else e for e in shape])) for name, shape in outputs]
    with pytest.raises(ModelError, match="is no detector that is understood") as error:
        anonymised(recording(noise(1)), save(tmp_path / "m.onnx", nodes, given, outputs))
    assert said in str(error.value)


def test_bad_models(tmp_path: Path) -> None:
    source = recording(noise(1))
    with pytest.raises(FileNotFoundError):
        anonymised(source, tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"text\.onnx is no ONNX model"):
        anonymised(source, tmp_path / "text.onnx")
    with pytest.raises(ModelError, match="no number above 0"):
        anonymised(source, fixed(tmp_path / "m.onnx", [[0, 0, 9, 9]], [1.0], threshold="high"))
    with pytest.raises(ModelError, match="not finite"):  # what cannot be placed must not slip through
        anonymised(source, fixed(tmp_path / "m.onnx", [[np.nan, 0, 9, 9]], [1.0])).read("camera.rgb", 0)


def test_sound_place_and_radio_are_left_out_by_kind_name_and_key(tmp_path: Path) -> None:
    stamps = np.arange(2, dtype=np.int64)

    def stream(name: str, kind: Any, value: Any, **more: Any) -> Part:
        shape = np.shape(value) if kind in ("vector", "audio") else ()
        values = np.array([value] * 2, object) if kind in ("event", "text", "bytes") else np.stack([value] * 2)
        return array_part(Stream(name, kind, shape, "str", **more), stamps, values)

    fix = '{"latitude": 47.1, "nested": {"mac_address": "58:08"}, "speed": 3.5}'
    parts = [
        stream("room", "audio", np.ones((3, 1))), stream("topic.mic0.level", "vector", [1.0]),
        stream("speech", "text", "hello"), stream("gps", "vector", [1.0, 2.0]),
        stream("vehicle", "vector", [1.0, 2.0], elements=("latitude", "longitude")),
        stream("wifi.beacons", "event", "{}"), stream("blob", "bytes", b"?"),
        stream("fix", "event", fix), stream("state", "vector", [1.0]), stream("language", "text", "open the door"),
    ]  # fmt: skip
    about: Any = {
        "location-eng": "+33.1-117.3/", "fps": 30, "tags": {"calib": '{"SerialNumber": "0072", "fx": 600.5}'},
        "gps": {"a": 1}, "list": [{"longitude": 3, "kept": 1}],
    }  # fmt: skip
    source = recording(noise(2), parts=parts, metadata=about)
    with anonymised(source, fixed(tmp_path / "m.onnx", [[0, 0, 9, 9]], [1.0])) as hidden:
        assert list(hidden.streams) == ["camera.rgb", "fix", "state", "language"]
        assert hidden.read("fix", 0) == '{"nested": {}, "speed": 3.5}'
        assert hidden.metadata == {
            "fps": 30, "tags": {"calib": '{"SerialNumber": "", "fx": 600.5}'}, "list": [{"kept": 1}],
        }  # fmt: skip
        told = "\n".join(hidden.notes)
    for name in ("room", "topic.mic0.level", "speech", "gps", "vehicle", "wifi.beacons", "blob"):
        assert f"{name} is left out by anonymise: " in told
    assert "metadata is left out by anonymise: location-eng, tags.calib.SerialNumber, gps, list.longitude" in told


def payloads(source: Source, name: str) -> list[bytes]:
    """Bytes of the samples of a stream, as long as chance would not repeat them."""
    values = [source.read(name, index) for index in range(len(source.stamps(name)))]
    packed = [each.encode() if isinstance(each, str) else np.asarray(each).tobytes() for each in values]
    return [each[:64] for each in packed if len(set(each)) > 3 and len(each) >= 16]


def unpacked(path: Path) -> bytes:
    """Everything in an MCAP file: its bytes, its messages unpacked, its metadata and schemas."""
    from mcap.reader import make_reader

    with path.open("rb") as file:
        reader = make_reader(file)
        parts = [path.read_bytes()]
        parts += [channel.topic.encode() + message.data for _, channel, message in reader.iter_messages()]
        parts += [repr((each.name, each.metadata)).encode() for each in reader.iter_metadata()]
        summary = reader.get_summary()
        assert summary is not None
        parts += [repr((each.topic, each.metadata)).encode() for each in summary.channels.values()]
    return b"".join(parts)


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        ("aria_gen1_aea", ("audio", "fields.audio", "speech")),
        ("gopro_gpmf", ("gps", "gps.status")),
        ("aria_gen2", ("audio", "bluetooth", "fields.audio")),
    ],
)
def test_nothing_of_sound_and_place_is_in_the_written_file(tmp_path: Path, path: str, gone: tuple[str, ...]) -> None:
    if not DATA.is_dir():
        pytest.skip("the sample recordings do not lie beside the repository: ../shared/data")
    collection = open_collection(DATA / path)
    model = fixed(tmp_path / "m.onnx", [[10, 10, 60, 60]], [0.9])
    keep: Callable[[str], bool] = lambda name: not name.startswith(("camera", "fields.camera", "depth"))  # noqa: E731
    with collection.open(collection.keys()[0]) as source:
        small = _only(source, keep)
        secrets = {name: payloads(source, name) for name in gone if name != "speech"}
        secrets["speech"] = [b"speech"] if "speech" in source.streams else []
        write_mcap(small, tmp_path / "as_it_is.mcap")
        with anonymised(small, model) as hidden:
            assert set(gone).isdisjoint(hidden.streams)
            notes = hidden.notes
            write_mcap(_without_notes(hidden), tmp_path / "hidden.mcap")
    collection.close()
    control, seen = unpacked(tmp_path / "as_it_is.mcap"), unpacked(tmp_path / "hidden.mcap")
    for name in gone:
        assert any(note.startswith(f"{name} is left out by anonymise") for note in notes)
        found = [each for each in secrets[name] if each in control]
        assert found, f"the control must hold the payload of {name}"
        assert not [each for each in secrets[name] if each in seen], f"{name} is still in the file"
        assert f'"name":"{name}"'.encode() in control and f'"name":"{name}"'.encode() not in seen
    if path == "gopro_gpmf":
        assert b"+33.1268" in control and b"+33.1268" not in seen


def _only(source: Source, keep: Callable[[str], bool]) -> PartsSource:
    """A recording with some streams, so that the test is short."""
    parts = [
        array_part(stream, source.stamps(name), _all(source, name))
        for name, stream in source.streams.items()
        if keep(name)
    ]
    return PartsSource(source.key, parts, metadata=source.metadata)


def _all(source: Source, name: str) -> np.ndarray:
    values = [source.read(name, index) for index in range(len(source.stamps(name)))]
    if all(isinstance(each, np.ndarray) and each.shape == values[0].shape for each in values):  # pyright: ignore
        return np.stack(values) if values else np.zeros((0, 1))
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _without_notes(source: PartsSource) -> PartsSource:
    """The notes name what was left out; only they may."""
    source.notes = ()
    return source


def unpacked_store(path: Path) -> bytes:
    """Everything in a store: its files as they are, and its arrays unpacked."""
    import zarr

    parts = [file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()]
    for about in sorted(path.rglob("zarr.json")):
        if b'"array"' in about.read_bytes():
            parts.append(np.asarray(zarr.open_array(str(about.parent), mode="r")[...]).tobytes())
    return b"".join(parts)


@pytest.mark.parametrize("to", ["mcap", "store"])
def test_a_conversion_hides_what_is_asked_for(tmp_path: Path, to: str) -> None:
    """From a bag with packed pictures, sound and places, over the command, in every byte that is written."""
    rng = np.random.default_rng(5)
    stamps = np.arange(5, dtype=np.int64) * 10**8
    sound = rng.integers(-30_000, 30_000, (5, 50, 2)).astype(np.int16)
    places = rng.normal(47, 1, (5, 3))
    parts = [
        array_part(Stream("audio.mic", "audio", (None, 2), "int16"), stamps, sound),
        array_part(Stream("gps", "vector", (3,), "float64", "deg,deg,m"), stamps, places),
        array_part(Stream("state", "vector", (3,), "float64", "rad"), stamps, rng.normal(size=(5, 3))),
    ]
    pictures = with_red(noise(5), 2, (slice(40, 60), slice(20, 40)))
    source = recording(pictures, stamps, parts=parts, metadata={"location": "+47.3769+008.5417/", "fps": 10})
    (tmp_path / "bags").mkdir()
    write_mcap(source, tmp_path / "bags" / "one.mcap")
    model, options = sees_red(tmp_path / "red.onnx"), {"as_recorded": True} if to == "store" else {}
    everything = unpacked if to == "mcap" else unpacked_store
    written = {}
    for name, more in {"open": {}, "hidden": {"anonymise": model}}.items():
        out = tmp_path / name
        convert(ConvertConfig(tmp_path / "bags" / "one.mcap", out, to, **options, **more))
        written[name] = everything(out / "one.mcap" if to == "mcap" else out)
    secrets = [sound[3].tobytes()[:64], places[3].tobytes(), b"+47.3769+008.5417/"]
    assert all(each in written["open"] for each in secrets), "the control must hold them"
    assert not [each for each in secrets if each in written["hidden"]]
    collection = open_collection(tmp_path / "hidden" / "one.mcap" if to == "mcap" else tmp_path / "hidden")
    with collection.open(collection.keys()[0]) as hidden:
        assert set(hidden.streams) == {"camera.rgb", "state"}
        seen = np.array(hidden.read_range("camera.rgb", 0, 5))
    collection.close()
    assert [changed(a, b) for a, b in zip(pictures, seen, strict=True)] == [None, *[(36, 64, 16, 44)] * 3, None]


def test_a_model_that_cannot_be_used_leaves_nothing_behind(tmp_path: Path) -> None:
    write_mcap(recording(noise(2)), tmp_path / "one.mcap")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="no ONNX model"):
        convert(ConvertConfig(tmp_path / "one.mcap", tmp_path / "out", "mcap", anonymise=tmp_path / "bad.onnx"))
    assert not (tmp_path / "out").exists()
