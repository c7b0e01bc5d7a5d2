"""LeRobotDataset v3.0 to an episode store: ours without loss, anyone's with what it says and no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from foreact.episodes import strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.contract import ContractError, PolicyContract
from foreact.episodes.episode import Episode
from foreact.episodes.lerobot_export import SIDECAR, SIDECAR_FORMAT
from foreact.episodes.lerobot_foreign import ForeignDataset
from foreact.episodes.lerobot_layout import TIME, TableLayout, episode_streams
from foreact.episodes.lerobot_reader import LeRobotEpisode, LeRobotReader, read_json
from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.partial import PartialFolder
from foreact.episodes.store import EpisodeStore


@dataclass(frozen=True)
class SidecarEpisode:
    """What `meta/foreact.json` knows of one episode; `steps` is its true number of control steps."""

    key: str
    task: str
    instruction: str
    seed: int
    success: bool
    metadata: dict[str, JSON]
    steps: int


@dataclass(frozen=True)
class Sidecar:
    """`meta/foreact.json`, written by `export_lerobot`."""

    format: int
    contract: PolicyContract
    attributes: dict[str, JSON]
    lossy_rgb: bool
    layout: TableLayout
    episodes: tuple[SidecarEpisode, ...]


@dataclass(frozen=True)
class OwnDataset:
    """A dataset that `export_lerobot` wrote: everything is known, nothing is left out."""

    reader: LeRobotReader
    sidecar: Sidecar

    @property
    def contract(self) -> PolicyContract:
        """The contract it was recorded under."""
        return self.sidecar.contract

    @property
    def attributes(self) -> dict[str, JSON]:
        """Of the store it came from."""
        return self.sidecar.attributes

    @property
    def figures(self) -> dict[str, JSON]:
        """What the import cannot give back."""
        return {"unknown": [], "left_out": [], "lossy_rgb": self.sidecar.lossy_rgb}

    def key(self, episode: LeRobotEpisode) -> str:
        """Key of the episode in the store it came from."""
        return self.sidecar.episodes[episode.index].key

    def read(self, episode: LeRobotEpisode) -> Episode:
        """The episode as it was exported."""
        about, layout = self.sidecar.episodes[episode.index], self.sidecar.layout
        table = self.reader.table(episode)
        columns = {
            name: self.reader.column(table, name)
            for name in [
                TIME,
                *map("steps.{}".format, layout.step_streams),
                *map("frames.{}".format, layout.frame_streams),
            ]
        }
        for name in layout.image_streams:
            column = str(layout.streams[name].image)
            images = self.reader.images(episode, table, column)
            columns[column] = images[..., 0] if name.endswith(".segmentation") else images
        streams = episode_streams(layout, columns, about.steps)
        return Episode(streams, about.task, about.instruction, about.seed, about.success, about.metadata)


def import_lerobot(
    source: Path, out: Path, chunk_length: int, episodes: Sequence[int], progress: ProgressFn
) -> dict[str, JSON]:
    """Read a LeRobot dataset into a new store.

    A dataset that `export_lerobot` wrote comes back as it was. For any other, the contract is derived from its
    info.json; units, frames, calibration, seeds and success that it does not state are marked "unknown".

    Args:
        source: dataset folder.
        out: folder of the store; must not exist. Goes on where an earlier call was stopped.
        chunk_length: actions per policy call, written into a derived contract.
        episodes: indices to import; empty = all.
        progress: called once per episode.

    Returns:
        Figures: episodes, contract hash, what is unknown, which columns were left out, whether rgb is lossy.

    Raises:
        StoreError: the dataset is damaged, or lacks state or action.
    """
    reader = LeRobotReader.open(source)
    chosen = _choose(reader, episodes)
    sidecar = _read_sidecar(reader)
    dataset = ForeignDataset.open(reader, chunk_length) if sidecar is None else OwnDataset(reader, sidecar)
    partial = PartialFolder(
        out,
        {
            "source": str(source.resolve()),
            "contract": dataset.contract.hash,
            "episodes": [episode.index for episode in chosen],
        },
    )
    store = EpisodeStore.create(partial.content, dataset.contract, attributes=dataset.attributes)
    for done, episode in enumerate(chosen):
        progress(done, len(chosen), f"read episode {episode.index}")
        key = dataset.key(episode)
        if key not in store:
            store.write(key, dataset.read(episode))
    partial.finish()
    progress(len(chosen), len(chosen), "read")
    return {"episodes": len(chosen), "contract_hash": dataset.contract.hash, **dataset.figures}


def _choose(reader: LeRobotReader, wanted: Sequence[int]) -> list[LeRobotEpisode]:
    found = reader.episodes()
    absent = [index for index in wanted if not 0 <= index < len(found)]
    if absent:
        raise StoreError(f"{reader.path} has {len(found)} episodes, so there are no episodes {absent}")
    chosen = [found[index] for index in sorted(set(wanted))] if wanted else found
    if not chosen:
        raise StoreError(f"{reader.path} holds no episodes, so there is nothing to convert")
    return chosen


def _read_sidecar(reader: LeRobotReader) -> Sidecar | None:
    path = reader.path / SIDECAR
    if not path.exists():
        return None
    content = read_json(path)
    if content.get("format") != SIDECAR_FORMAT:
        raise StoreError(f"{path} has format {content.get('format')!r}, this foreact reads {SIDECAR_FORMAT}")
    try:
        sidecar = strictjson.decode(Sidecar, content, "sidecar")
    except (strictjson.StrictJsonError, ContractError) as error:
        raise StoreError(f"{path}: {error}") from error
    if len(sidecar.episodes) != len(reader.episodes()):
        raise StoreError(f"{path} lists {len(sidecar.episodes)} episodes, the dataset has {len(reader.episodes())}")
    return sidecar
