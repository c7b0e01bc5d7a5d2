"""How far does the command jump where a late chunk takes over, with and without being told what is being executed?

At pairs of moments of recordings, 8 control steps apart, the policy decides twice. The second chunk arrives N steps
late: its row N follows row 8 + N - 1 of the first. The gap between the two is compared with the step that the first
chunk itself would have made there.

    .venv/bin/python -P benchmarks/prefix_seam.py data/calibration runs/with runs/without --out benchmarks/results
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.runfolder import describe_machine, write_dated_json
from foreact.episodes.sources import open_collection
from foreact.vla.actors import TorchActor, chunk_noise, longest_prefix
from foreact.vla.shadow_inputs import Moment, ShadowInputs, check_store

EXECUTE = 8
DELAYS = (2, 4, 6, 8)
PAIRS = 8  # of each recording


def pairs_of(moments: list[Moment], step_ns: int) -> list[tuple[Moment, Moment]]:
    """Up to `PAIRS` pairs of moments `step_ns` apart, spread over the recording."""
    later = {moment.time_ns: moment for moment in moments}
    found = [(each, later[each.time_ns + step_ns]) for each in moments if each.time_ns + step_ns in later]
    return [found[index] for index in np.unique(np.linspace(0, len(found) - 1, PAIRS).astype(int))] if found else []


def seams(actor: TorchActor, pairs: list[tuple[Moment, Moment]]) -> list[dict[str, Any]]:
    """Mean and 95th percentile of the largest element's gap, for each delay."""
    noise = chunk_noise(0, 0, actor.contract)
    first = [actor.act(before.observation, noise) for before, _ in pairs]
    untold = [actor.act(after.observation, noise) for _, after in pairs]
    rows = []
    for delay in DELAYS:
        last = [old[0, EXECUTE + delay - 1] for old in first]
        gaps = {"untold": gap([new[0, delay] for new in untold], last)}
        if delay <= longest_prefix(actor):
            told = [told_chunk(actor, pair[1], old, delay, noise) for pair, old in zip(pairs, first, strict=True)]
            gaps["told"] = gap([new[0, delay] for new in told], last)
        if EXECUTE + delay < actor.contract.chunk_length:
            gaps["within_a_chunk"] = gap([old[0, EXECUTE + delay] for old in first], last)
        rows.append({"delay": delay, **gaps})
    return rows


def told_chunk(actor: TorchActor, moment: Moment, old: np.ndarray, delay: int, noise: np.ndarray) -> np.ndarray:
    """The chunk of a moment at which the old one goes on for `delay` steps."""
    prefix = np.zeros_like(old)
    prefix[:, :delay] = old[:, EXECUTE : EXECUTE + delay]
    return actor.act(moment.observation, noise, prefix, np.array([delay]))


def gap(after: list[np.ndarray], before: list[np.ndarray]) -> dict[str, float]:
    """Of the element that jumps most."""
    largest = np.abs(np.stack(after) - np.stack(before)).max(axis=1)
    return {"mean": round(float(largest.mean()), 4), "p95": round(float(np.quantile(largest, 0.95)), 4)}


def main() -> None:
    """Print and write one row for each policy and delay."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("policies", type=Path, nargs="+")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    figures: dict[str, Any] = {"machine": describe_machine(), "policies": []}
    for path in asked.policies:
        actor = TorchActor(path)
        collection = open_collection(asked.data)
        check_store(collection, actor.contract)
        step_ns, pairs = round(EXECUTE / actor.contract.control_rate_hz * 1e9), []
        for key in collection.keys():
            with collection.open(key) as source:
                pairs += pairs_of(list(ShadowInputs(source, actor.contract).moments(1)), step_ns)
        collection.close()
        rows = seams(actor, pairs)
        figures["policies"].append(
            {"policy": path.name, "prefix": longest_prefix(actor), "pairs": len(pairs), "rows": rows}
        )
        print(path, len(pairs), "pairs", *map(json.dumps, rows), sep="\n")
    if asked.out:
        print(write_dated_json(asked.out, "prefix-seam", figures))


if __name__ == "__main__":
    main()
