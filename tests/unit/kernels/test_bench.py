"""The benchmark's report, files and errors; timings themselves decide nothing."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from foreact.kernels import bench as module
from foreact.kernels.bench import BenchConfig, BenchError, bench, main
from foreact.kernels.operators import load
from foreact.kernels.prove import Proof
from foreact.kernels.timing import measure, torch_threads

SMALL = BenchConfig(batch=2, size=4, repeats=3)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Prove with one seed; the full proof has its own test."""
    full = module.prove
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(module, "prove", lambda operator, device: full(operator, device, seeds=(0,)))
    yield


@pytest.mark.usefixtures("quick")
def test_the_report_has_a_row_per_implementation_and_dtype() -> None:
    seen: list[tuple[int, int, str]] = []
    report = bench(SMALL, lambda done, total, text: seen.append((done, total, text)))
    assert report.path is None
    assert [row[:3] for row in report.rows[:6]] == [
        ("rgbd_to_planes", name, dtype) for name in ("reference", "cpu", "triton") for dtype in ("float32", "bfloat16")
    ]
    assert len(report.rows) == 12
    assert all(len(row) == len(report.columns) for row in report.rows)
    assert report.rows[0][7] == "1.00x"
    assert report.rows[4][3:] == ("not run", "", "", "", "")
    assert report.figures["proofs"][4]["not_run"].startswith("it takes CUDA tensors")
    assert seen[0] == (0, 4, "proving rgbd_to_planes")
    assert seen[-1] == (4, 4, "done")
    assert report.figures["machine"]["torch"] == torch.__version__


@pytest.mark.usefixtures("quick")
def test_runs_are_appended_to_one_dated_file(tmp_path: Path) -> None:
    config = dataclasses.replace(SMALL, out=tmp_path / "results")
    first, second = bench(config), bench(config)
    assert first.path is not None
    assert first.path.name.endswith("-kernels.jsonl")
    lines = [json.loads(line) for path in sorted({first.path, second.path or first.path}) for line in path.open()]
    assert lines == [first.figures, second.figures]


@pytest.mark.usefixtures("quick")
def test_the_command_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    assert main(["--batch", "2", "--size", "4", "--repeats", "1", "--json", str(file)]) == 0
    out = capsys.readouterr().out
    assert "vs reference" in out
    assert f"wrote {file}" in out
    assert "triton was not run: it takes CUDA tensors" in out
    assert "None" not in out
    assert json.loads(file.read_text())["config"]["batch"] == 2
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"target": "kernel"}, BenchError, "unknown bench target 'kernel': choose from kernels"),
        ({"device": "tpu"}, BenchError, "unknown device 'tpu'"),
        ({"batch": 0}, ValueError, "batch is 0"),
        ({"size": -1}, ValueError, "size is -1"),
        ({"threads": 0}, ValueError, "threads is 0"),
        ({"repeats": 0}, ValueError, "repeats is 0"),
    ],
)
@pytest.mark.usefixtures("quick")
def test_wrong_settings_are_named(changes: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        bench(dataclasses.replace(SMALL, **changes))


def test_no_cuda_is_an_error_not_a_fallback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--device", "cuda", "--json", str(tmp_path / "figures.json")]) == 1
    assert "use --device cpu" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_disagrees_with_the_reference_is_not_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrong = Proof("rgbd_to_planes", "cpu", torch.float32, 1, 1.0, ("seed 0, random: off",))
    monkeypatch.setattr(module, "prove", lambda operator, device: [wrong])
    monkeypatch.setattr(module, "measure", lambda *arguments: pytest.fail("timed"))
    with pytest.raises(BenchError, match=r"(?s)not timed.*rgbd_to_planes, cpu, float32: seed 0, random: off"):
        bench(dataclasses.replace(SMALL, out=tmp_path / "results"))
    assert not list(tmp_path.iterdir())


def test_ratios_are_medians_over_interleaved_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two rounds to warm up, then three; reference and cpu alternate. Ratios of the kept rounds: 4, 2, 6.
    cpu_seconds = iter([9.0, 1.0, 9.0, 1.0, 4.0, 1.0, 4.0, 2.0, 6.0, 1.0])

    def clock(call: Callable[[], torch.Tensor]) -> tuple[float, float]:
        call()
        return 0.5, next(cpu_seconds)

    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("foreact.kernels.timing._cpu_seconds", clock)
    operator = load("rgb_to_planes")
    reference, cpu = measure(operator, operator.timing_case(2, 4, 0), torch.float32, 3)
    assert (reference.ratio, cpu.ratio) == (1.0, 4.0)
    assert cpu.spread == (2.0, 6.0)
    assert (reference.cpu_seconds, cpu.cpu_seconds, cpu.wall_seconds) == (4.0, 1.0, 0.5)
    # 2 x 4 x 4 x 3 bytes in, 2 x 2 x 8 bytes of shift, 2 x 3 x 4 x 4 x 4 bytes out: 512 bytes in 0.5 s
    assert cpu.gigabytes_per_second == pytest.approx(512 / 0.5 / 1e9)


def test_thread_count_is_put_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
