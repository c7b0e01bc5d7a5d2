"""Data-parallel processes: started here, or by `torchrun`; weights copied (DDP) or divided among them (FSDP2)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from foreact.episodes.outcome import ProgressFn, quiet

__all__ = ["Group", "RankJob", "joined_group", "run_ranks", "shard_model", "torchrun_group"]


@dataclass(frozen=True)
class Group:
    """This process among its like.

    Attributes:
        rank: Its number.
        world: How many there are.
        local: Its number on this machine, which is that of its device.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    def device(self, name: str) -> torch.device:
        """The device of this process; `cuda` is one for each."""
        return torch.device("cuda", self.local) if name == "cuda" and self.world > 1 else torch.device(name)


RankJob = Callable[[Group, ProgressFn], None]
"""What a process of a group does; it must be importable by name, as `functools.partial` of a function is."""


def torchrun_group() -> Group | None:
    """The group that `torchrun` made this process part of, or None."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return Group(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))


@contextlib.contextmanager
def joined_group(group: Group, device: str, meet: str = "env://") -> Iterator[None]:
    """Be part of a group: gloo on CPU, NCCL on CUDA.

    Args:
        group: This process's place.
        device: `cpu`, `cuda` or `cuda:N`.
        meet: Where the processes meet.
    """
    import torch.distributed as dist

    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, init_method=meet, rank=group.rank, world_size=group.world)
    try:
        yield
    finally:
        dist.destroy_process_group()


def run_ranks(job: RankJob, processes: int, device: str, progress: ProgressFn = quiet) -> None:
    """Do a job in so many new processes; a failure of any ends all.

    Args:
        job: What each does.
        processes: How many.
        device: `cpu`, `cuda` or `cuda:N`.
        progress: Told what rank 0 tells.

    Raises:
        ValueError: What a rank raised as one: the user can mend it.
        ProcessRaisedException, ProcessExitedException: A rank failed otherwise.
    """
    import queue
    import tempfile

    from torch.multiprocessing import get_context
    from torch.multiprocessing.spawn import ProcessExitedException, start_processes

    messages: Any = get_context("spawn").Queue()
    with tempfile.TemporaryDirectory(prefix="foreact-") as folder:
        arguments = (job, processes, device, f"file://{folder}/meet", messages)
        ranks = start_processes(_rank, arguments, processes, join=False, start_method="spawn")
        assert ranks is not None
        alive, failure = True, None
        while alive:
            try:
                alive = not ranks.join(timeout=0.2)
            except ProcessExitedException as error:
                alive, failure = False, error
            with contextlib.suppress(queue.Empty):
                while True:
                    message = messages.get_nowait()
                    if isinstance(message, ValueError):
                        raise message
                    progress(*message)
        if failure is not None:
            raise failure


def _rank(rank: int, job: RankJob, world: int, device: str, meet: str, messages: Any) -> None:
    from foreact.episodes.workers import follow_parent

    follow_parent()  # a rank that outlived a killed command would write into the folder of the one that continues
    group = Group(rank, world, rank)
    with joined_group(group, device, meet):
        try:
            job(group, (lambda *message: messages.put(message)) if rank == 0 else quiet)
        except ValueError as error:
            messages.put(error)
            raise SystemExit(1) from error


def shard_model(model: nn.Module) -> None:
    """Divide weights among the processes of the group (FSDP2), block by block.

    Args:
        model: Its `ModuleList`s hold the blocks; the rest is gathered at once.
    """
    from torch.distributed.fsdp import fully_shard

    for each in model.modules():
        if isinstance(each, nn.ModuleList):
            for block in each:
                fully_shard(block)
    fully_shard(model)
