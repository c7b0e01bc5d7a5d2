import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.deploy_edge.runtime.golden import (
    GoldenError,
    check_golden,
    golden_bytes,
    golden_digest,
    golden_path,
    parse_golden,
    read_golden,
    require_golden,
    write_golden,
)
from foreact.episodes.contract import PolicyContract

COUNT = 3


def inputs(contract: PolicyContract, **more: np.ndarray) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {
            "camera.top.rgb": rng.integers(0, 256, (1, 4, 6, 3), dtype=np.uint8),
            "camera.top.depth": rng.integers(0, 900, (1, 4, 6), dtype=np.uint16),
            "state": rng.uniform(-1, 1, (1, 2)).astype(np.float32),
            "tokens": np.full((1, 16), row, np.int64),
            **more,
        }
        for row in range(COUNT)
    ]


def chunks() -> list[np.ndarray]:
    return [np.full((4, 2), value, np.float32) for value in (0.5, -0.25, 0.01)]


def content(contract: PolicyContract, **options: Any) -> bytes:
    return golden_bytes(inputs(contract), chunks(), **options)


def test_what_is_written_is_read(tmp_path: Path, contract: PolicyContract) -> None:
    path, made = tmp_path / "policy.int8.onnx", content(contract, min_cosine=0.9995)
    assert made == content(contract, min_cosine=0.9995)
    assert write_golden(path, made) == golden_path(path) == tmp_path / "policy.int8.golden.npz"
    golden = read_golden(path, contract, golden_digest(made))
    assert (golden.min_cosine, golden.max_abs_fraction) == (0.9995, 0.02)
    assert np.array_equal(golden.chunks, np.stack(chunks()))
    for found, wanted in zip(golden.inputs, inputs(contract), strict=True):
        assert found.keys() == wanted.keys() and all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_a_missing_or_swapped_file_is_refused(tmp_path: Path, contract: PolicyContract) -> None:
    path, made = tmp_path / "policy.onnx", content(contract)
    with pytest.raises(GoldenError, match=r"policy.golden.npz is missing.*foreact export"):
        read_golden(path, contract, golden_digest(made))
    write_golden(path, made)
    with pytest.raises(GoldenError, match="names no golden inputs"):
        read_golden(path, contract, None)
    write_golden(path, content(contract, min_cosine=0.99))
    with pytest.raises(GoldenError, match="is not the golden file of policy.onnx"):
        read_golden(path, contract, golden_digest(made))


def test_damaged_content_is_refused(contract: PolicyContract) -> None:
    made = content(contract)
    for damaged in (b"", b"x" * 100, made[:-30], made[:100] + bytes(9) + made[109:]):
        with pytest.raises(GoldenError, match="no golden file"):
            parse_golden(damaged, contract, "it")


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, member in members.items():
            file.writestr(f"{name}.npy", member)
    return buffer.getvalue()


def array_claiming(shape: str, dtype: str = "<f4") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"1234"


@pytest.mark.parametrize("shape", ["(99999999999, 99999999)", "(-1,)", "(0,)", "(2,)"])
def test_a_header_that_claims_another_size_is_refused(contract: PolicyContract, shape: str) -> None:
    with pytest.raises(GoldenError, match="no golden file"):
        parse_golden(archive(action=array_claiming(shape)), contract, "it")


def test_objects_and_bombs_are_refused(contract: PolicyContract) -> None:
    with pytest.raises(GoldenError, match="no golden file"):
        parse_golden(archive(action=array_claiming("(1,)", "|O")), contract, "it")
    with pytest.raises(GoldenError, match="more than 64 MB"):
        parse_golden(archive(action=bytes(80 << 20)), contract, "it")


def changed(contract: PolicyContract, **members: np.ndarray | None) -> bytes:
    with np.load(io.BytesIO(content(contract))) as file:
        arrays = {name: file[name] for name in file.files}
    kept = {name: each for name, each in {**arrays, **members}.items() if each is not None}
    buffer = io.BytesIO()
    np.savez(buffer, **kept)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("input.state", None, "lacks .*input.state"),
        ("input.other", np.zeros(1), "unexpected .*input.other"),
        ("input.state", np.zeros((3, 2)), r"state: expected float32 \(3, 2\), got float64"),
        ("input.state", np.zeros((2, 2), np.float32), r"state: expected float32 \(3, 2\), got float32 \(2, 2\)"),
        ("input.state", np.full((3, 2), np.nan, np.float32), "not finite"),
        ("input.prefix", np.zeros((3, 4, 3), np.float32), r"prefix: expected float32 \(3, 4, 2\)"),
        ("action", np.zeros((3, 5, 2), np.float32), r"action: expected float32 \(3, 4, 2\)"),
        ("action", np.zeros((0, 4, 2), np.float32), "0 observations"),
        ("gate", np.zeros(3), "gate: expected"),
        ("gate", np.array([0.1, 0.02]), "min_cosine=0.1"),
        ("gate", np.array([np.nan, 0.02]), "min_cosine=nan"),
    ],
)
def test_what_does_not_fit_the_contract_is_refused(
    contract: PolicyContract, name: str, value: np.ndarray | None, message: str
) -> None:
    with pytest.raises(GoldenError, match=message):
        parse_golden(changed(contract, **{name: value}), contract, "it")


def test_what_cannot_be_golden_is_not_written(contract: PolicyContract) -> None:
    given = inputs(contract)
    for wrong, answers in (([], []), (given, chunks()[:1]), ([*given[:2], {}], chunks())):
        with pytest.raises(GoldenError):
            golden_bytes(wrong, answers)
    with pytest.raises(GoldenError, match="not finite"):
        golden_bytes(given, [*chunks()[:2], np.full((4, 2), np.inf, np.float32)])
    with pytest.raises(GoldenError, match="max_abs_fraction=0.5"):
        golden_bytes(given, chunks(), max_abs_fraction=0.5)


def answers(contract: PolicyContract, *offsets: float) -> Any:
    made = iter(np.array([offset], np.float32) + chunk for offset, chunk in zip(offsets, chunks(), strict=True))
    return check_golden(lambda _: next(made), parse_golden(content(contract), contract, "it"), contract)


def test_near_answers_pass(contract: PolicyContract) -> None:
    # the range is 2, so 2 % of it is 0.04; the third chunk stands still, where 0.02 is allowed
    result = answers(contract, 0.039, -0.039, 0.019)
    assert result.passed and result.still.tolist() == [False, False, True]
    assert result.min_cosine == pytest.approx(1.0) and result.fraction.max() == pytest.approx(0.0195, abs=1e-6)


@pytest.mark.parametrize(
    ("offsets", "worst"),
    [((0.041, 0, 0), 0), ((0, -0.041, 0), 1), ((0, 0, 0.021), 2), ((0, np.nan, 0), 1), ((np.inf, 0, 0), 0)],
)
def test_far_answers_fail(contract: PolicyContract, offsets: tuple[float, ...], worst: int) -> None:
    result = answers(contract, *offsets)
    assert not result.passed and result.fault.startswith(f"golden observation {worst} of 3")
    assert result.figures()["passed"] is False


def test_a_turned_chunk_fails_though_every_difference_is_small(contract: PolicyContract) -> None:
    golden = parse_golden(content(contract), contract, "it")
    tilt = np.array([0.03, -0.03], np.float32)
    with pytest.raises(GoldenError, match=r"x in y does not compute.*observation 1 of 3: cosine 0.99.*1 of 3 fail"):
        answered = iter((golden.chunks[0], golden.chunks[1] + tilt, golden.chunks[2]))
        require_golden(lambda _: next(answered), golden, contract, "x in y")
