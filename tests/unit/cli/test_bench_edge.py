"""What `foreact bench edge` makes of what was measured, and the stages it plans."""

from pathlib import Path
from typing import Any

import pytest

from foreact.cli.bench_edge import EdgeBenchConfig
from foreact.cli.bench_edge_figures import Measured, columns, figures_of, rows_of
from foreact.cli.bench_edge_plan import VARIANTS, evaluation_stages, files_of, model_stages
from foreact.cli.bench_edge_start import LARGE
from foreact.deploy_edge.latency import Latency

KEYS = (
    "size_ratio_int8 size_ratio_pruned_int8 success_loss success_loss_upper latency_ratio_fp32 latency_ratio_int8 "
    "parity_min_cosine parity_max_abs cold_start_seconds rss_mb"
).split()
MS = {"torch": 4.0, "torch_compile": 3.6, "onnxruntime fp32": 2.0, "onnxruntime int8": 1.0}
MS |= {"onnxruntime pruned-int8": 0.5, "openvino int8": 0.8}


def measured(lost: int = 0, size: int = 100, ms: float = 1.0, cosine: float = 0.9995) -> Measured:
    episodes = [("reach-v3", index) for index in range(50)]
    solved = dict.fromkeys(episodes, True)
    outcomes: dict[str, Any] = {name: dict(solved) for name in VARIANTS}
    outcomes["pruned-int8"] |= dict.fromkeys(episodes[:lost], False)
    outcomes["naive"] = {key: False for key in episodes[:10]}
    latency = {name: Latency(value, value, value) for name, value in MS.items()}
    latency["onnxruntime int8"] = Latency(ms, ms, ms)
    parity = {"parity_min_cosine": cosine, "parity_max_abs": 0.03}
    return Measured(
        Path("runs/r"),
        {"int8": parity},
        {"fp32": 800, "int8": 200, "pruned-int8": size, "naive": 210},
        outcomes,
        latency,
        {},
        {"int8": {"wall_s": 0.2, "rss_mb": 80.0}, LARGE: {"wall_s": 0.3, "rss_mb": 120.0}},
    )


def figures(*policies: Measured) -> dict[str, Any]:
    return figures_of(policies, EdgeBenchConfig())


def test_every_key_that_was_promised_is_there() -> None:
    found = figures(measured())
    assert set(KEYS) <= found.keys() and None not in [found[key] for key in KEYS]


def test_the_worst_policy_speaks_for_sizes_speed_and_parity() -> None:
    found = figures(measured(), measured(size=160, ms=2.0, cosine=0.999))
    assert (found["size_ratio_int8"], found["size_ratio_pruned_int8"]) == (4.0, 5.0)
    assert (found["latency_ratio_int8"], found["latency_ratio_int8_compile"]) == (2.0, 1.8)
    assert found["parity_min_cosine"] == 0.999 and found["rss_mb"] == 120.0


def test_losses_are_points_of_all_pairs_together() -> None:
    found = figures(measured(lost=1), measured())
    assert found["success_loss"] == 1.0
    assert found["paired"]["pruned-int8"]["episodes"] == 100
    assert found["success_loss_upper"] > 1.0 > found["paired"]["pruned-int8"]["lower"]
    assert found["paired"]["naive"]["loss"] == 100.0 and found["paired"]["naive"]["episodes"] == 20


def test_a_way_that_was_not_run_has_no_ratio() -> None:
    alone = measured()
    without = {name: each for name, each in alone.latency.items() if name != "torch_compile"}
    found = figures(Measured(**{**alone.__dict__, "latency": without, "not_run": {"torch_compile": "no compiler"}}))
    assert found["latency_ratio_int8_compile"] is None
    assert found["policies"][0]["not_run"] == {"torch_compile": "no compiler"}
    assert all(len(row) == len(columns()) for row in rows_of(found))


def test_variants_share_layouts_and_only_pruning_is_given_training_data(tmp_path: Path) -> None:
    files = files_of(tmp_path, 0)
    lines = {stage.name: stage.command_line for stage in model_stages(files, Path("p"), Path("t"), Path("d"))}
    assert [name for name, words in lines.items() if "train=t" in words] == ["policy-0 pruned-int8"]
    for path in files.models.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(path.name.encode())
    before = evaluation_stages(files, {"seed": 3, "episodes": 100}, naive=20)
    assert all("seed=3" in stage.command_line for stage in before)
    files.models["int8"].write_bytes(b"another model")
    after = evaluation_stages(files, {"seed": 3, "episodes": 100}, naive=20)
    assert [a.overrides == b.overrides for a, b in zip(before, after, strict=True)] == [True, False, True, True]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"policies": (Path("p"),)}, "together"),
        ({"naive": 200}, "naive=200 is more"),
        ({"episodes": 0}, "episodes"),
        ({"target": "sim"}, "expected edge"),
    ],
)
def test_settings_that_cannot_be_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EdgeBenchConfig(**keys)
