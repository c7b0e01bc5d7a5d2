"""A folder of episodes recorded under one contract: Zarr 3, append-safe, safe from many processes and kill -9.

STORE/zarr.json               group; attributes: format, contract, its hash, attributes of the user
STORE/episodes/KEY/...        one episode, see `arrays`
STORE/episodes/.tmp-...       an episode being written; invisible until it is renamed
"""

import json
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import arrays, staging, strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.contract import ContractError, PolicyContract, require_same
from foreact.episodes.episode import Episode, EpisodeHeader, Stream, check_episode, check_stream_data
from foreact.episodes.outcome import JSON, ProgressFn, quiet

__all__ = ["FORMAT", "Episode", "EpisodeHeader", "EpisodeStore", "StoreError", "Stream", "is_key", "root_of"]

FORMAT = 1
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class EpisodeStore:
    """Episodes on disk, by key; use `create` or `open`.

    Reading never changes anything. Any number of processes may write, each episode by one of them.
    """

    def __init__(self, path: Path, contract: PolicyContract, attributes: dict[str, JSON]) -> None:
        self.path = path
        self.contract = contract
        self.attributes = attributes
        self._episodes = path / "episodes"
        self._headers: dict[str, EpisodeHeader] = {}  # committed episodes never change

    @classmethod
    def create(
        cls, path: str | Path, contract: PolicyContract, *, attributes: dict[str, JSON] | None = None
    ) -> "EpisodeStore":
        """Make a new store, or open the one that is there if it says the same.

        Args:
            path: folder; its parents are made.
            contract: that every episode follows.
            attributes: kept beside the contract, such as how the episodes were made; None = whatever is there.

        Raises:
            ContractMismatch: a store with another contract is there.
            StoreError: it has other attributes, or the folder holds something else.
        """
        path = Path(path)
        if not (path / arrays.HEADER).exists():
            _create_group(path, contract, attributes or {})
        store = cls.open(path)
        require_same(store.contract, contract, f"store {path}")
        if attributes is not None and store.attributes != attributes:
            changed = sorted(
                key for key in {*store.attributes, *attributes} if store.attributes.get(key) != attributes.get(key)
            )
            pairs = ", ".join(f"{key}: {store.attributes.get(key)!r} != {attributes.get(key)!r}" for key in changed)
            raise StoreError(f"{path} was made with other attributes ({pairs}); use another folder")
        staging.remove_stale(store._episodes)
        return store

    @classmethod
    def open(cls, path: str | Path) -> "EpisodeStore":
        """Open a store for reading and appending.

        Raises:
            StoreError: nothing there, not a store, damaged, or written by a newer foreact.
        """
        path = Path(path)
        if not path.exists():
            raise StoreError(f"no episode store at {path}; make one with: foreact record out={path}")
        if not (path / arrays.HEADER).is_file():
            raise StoreError(f"{path} is not an episode store: it has no {arrays.HEADER}")
        contract, attributes = root_of(arrays.read_group(path), str(path))
        return cls(path, contract, attributes)

    def keys(self) -> list[str]:
        """Keys of all committed episodes, sorted."""
        try:
            names = os.listdir(self._episodes)
        except FileNotFoundError:
            raise StoreError(f"{self._episodes} is missing") from None
        return sorted(name for name in names if _KEY.fullmatch(name) and (self._episodes / name).is_dir())

    def __contains__(self, key: str) -> bool:
        """Whether an episode of that key is committed."""
        return _KEY.fullmatch(key) is not None and (self._episodes / key).is_dir()

    def __len__(self) -> int:
        """Number of committed episodes."""
        return len(self.keys())

    def write(self, key: str, episode: Episode) -> None:
        """Add an episode; it appears whole or not at all.

        Args:
            key: letters, digits, "-", "_", "."; for example "reach-v3-00012".
            episode: following the store's contract.

        Raises:
            ContractError: the episode breaks the contract, holds NaN, or has a clock that does not advance.
            StoreError: bad key, or the key is taken.
        """
        if not _KEY.fullmatch(key):
            raise StoreError(f"bad episode key {key!r}: use letters, digits, '-', '_', '.', such as reach-v3-00012")
        check_episode(episode, self.contract, f"episode {key}")
        try:
            with staging.staged_folder(self._episodes / key) as folder:
                arrays.write_episode(folder, episode)
        except FileExistsError as error:
            raise StoreError(f"{self.path} already holds the episode {key!r}") from error

    def header(self, key: str) -> EpisodeHeader:
        """Labels and stream shapes of an episode, without its payload.

        Raises:
            StoreError: no such episode, or its header is damaged.
        """
        if key not in self._headers:
            if key not in self:
                raise StoreError(f"{self.path} has no episode {key!r}; it holds {len(self)}")
            self._headers[key] = arrays.read_header(self._episodes / key)
        return self._headers[key]

    def read(self, key: str, streams: Sequence[str] | None = None) -> Episode:
        """Read an episode, or only some of its streams.

        Raises:
            StoreError: no such episode or stream, a file is missing, truncated or damaged, or a number is not finite.
        """
        header = self.header(key)
        names = list(header.streams) if streams is None else list(streams)
        clocks: dict[str, np.ndarray] = {}
        found: dict[str, Stream] = {}
        for name in names:
            data = self._read_stream(key, name)
            about = header.streams[name]
            if about.clock not in clocks:
                clocks[about.clock] = self.read_clock(key, name)
            found[name] = Stream(data, clocks[about.clock], about.unit, about.rate_hz)
        return Episode(found, header.task, header.instruction, header.seed, header.success, header.metadata)

    def read_clock(self, key: str, stream: str) -> np.ndarray:
        """Times of the samples of one stream [ns], int64 (T,), without the samples.

        Raises:
            StoreError: no such episode or stream, or a file is missing, truncated or damaged.
        """
        length = self._stream_shape(key, stream)[0]
        return self._read_array(key, self.header(key).streams[stream].clock, "int64", (length,))

    def lengths(self, keys: Sequence[str], stream: str) -> np.ndarray:
        """Samples of one stream in each episode, int64 (len(keys),), from the headers alone."""
        return np.array([self._stream_shape(key, stream)[0] for key in keys], np.int64)

    def read_into(self, keys: Sequence[str], stream: str, out: np.ndarray) -> np.ndarray:
        """Read one stream of many episodes, one after the other, into a preallocated array.

        Args:
            keys: episodes, in the order wanted.
            stream: its name; the clocks are not read.
            out: (sum of `lengths(keys, stream)`, ...) of the stream's dtype.

        Returns:
            int64 (len(keys) + 1,): episode i is out[offsets[i]:offsets[i + 1]].

        Raises:
            StoreError: `out` does not fit, or an episode cannot be read.
        """
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths(keys, stream))])
        for index, key in enumerate(keys):
            about = self.header(key).streams[stream]
            expected = (int(offsets[-1]), *about.shape[1:])
            if out.shape != expected or out.dtype != np.dtype(about.dtype):
                needed, got = f"{about.dtype} {expected}", f"{out.dtype} {out.shape}"
                raise StoreError(f"read_into({stream}): for episode {key}, out must be {needed}, got {got}")
            out[offsets[index] : offsets[index + 1]] = self._read_stream(key, stream)
        return offsets

    def verify(self, progress: ProgressFn | None = None) -> list[str]:
        """Read and check every byte of every episode; return the problems as text, none if all is well."""
        report = progress or quiet
        problems: list[str] = []
        keys = self.keys()
        for done, key in enumerate(keys):
            report(done, len(keys), f"verify {key}")
            problems += self._verify_episode(key)
        report(len(keys), len(keys), "verify")
        return problems

    def _verify_episode(self, key: str) -> list[str]:
        folder = self._episodes / key
        try:
            header = arrays.read_header(folder)
        except StoreError as error:
            return [str(error)]
        problems = arrays.check_files(folder, header)
        if problems:
            return problems
        try:
            check_episode(self.read(key), self.contract, f"episode {key}")
        except (StoreError, ContractError) as error:
            problems.append(str(error))
        return problems

    def _stream_shape(self, key: str, stream: str) -> tuple[int, ...]:
        streams = self.header(key).streams
        if stream not in streams:
            raise StoreError(f"episode {key!r} has no stream {stream!r}; it has {sorted(streams)}")
        return streams[stream].shape

    def _read_stream(self, key: str, name: str) -> np.ndarray:
        shape = self._stream_shape(key, name)
        data = self._read_array(key, name, self.header(key).streams[name].dtype, shape)
        try:
            check_stream_data(name, data, self.contract, f"episode {key}: stream {name}")
        except ContractError as error:  # another writer left it, or a disk did
            raise StoreError(str(error)) from error
        return data

    def _read_array(self, key: str, name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
        folder = self._episodes / key
        arrays.check_sizes(folder, self.header(key), name)
        data = arrays.read_array(folder, name)
        if str(data.dtype) != dtype or data.shape != shape:
            raise StoreError(f"{folder / name} holds {data.dtype} {data.shape}, its header says {dtype} {shape}")
        return data


def root_of(group: Mapping[str, Any], where: str) -> tuple[PolicyContract, dict[str, JSON]]:
    """Contract and attributes of a store.

    Args:
        group: attributes of its Zarr group.
        where: the store, for messages.

    Raises:
        StoreError: not a store of episodes, altered, or written by a newer foreact.
    """
    fields = group.get("foreact")
    if not isinstance(fields, dict) or "format" not in fields:
        raise StoreError(f"{where} is a Zarr group but not an episode store")
    if fields.get("holds") == "recordings":
        raise StoreError(
            f"{where} holds recordings as they were read, without a contract: nothing says which of its streams are "
            f"what a policy sees and does. Type: foreact inspect {where}, foreact replay {where}, or "
            f"foreact convert {where} OUT to=lerobot"
        )
    if fields["format"] != FORMAT:
        newer = isinstance(fields["format"], int) and fields["format"] > FORMAT
        hint = "written by a newer foreact; update foreact" if newer else "not a format this foreact reads"
        raise StoreError(f"{where} has format {fields['format']!r}, this foreact reads {FORMAT}: {hint}")
    try:
        contract = PolicyContract.from_json(json.dumps(fields.get("contract")))
    except ContractError as error:
        raise StoreError(f"{where}/{arrays.HEADER}: {error}") from error
    if fields.get("contract_hash") != contract.hash:
        raise StoreError(f"{where}/{arrays.HEADER} was altered: the contract does not match its hash")
    return contract, fields.get("attributes", {})


def is_key(name: str) -> bool:
    """Whether a folder of this name is a committed episode."""
    return _KEY.fullmatch(name) is not None


def _create_group(path: Path, contract: PolicyContract, attributes: dict[str, JSON]) -> None:
    """Write the root of a store; if another process does so at the same time, one of them wins."""
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file; give a folder")
    foreign = sorted(set(os.listdir(path)) - {"episodes"}) if path.is_dir() else []
    if any(not name.startswith(".tmp-") for name in foreign):
        raise StoreError(f"{path} is not empty and not an episode store (it holds {foreign[0]!r}); use another folder")
    strictjson.canonical(attributes)
    (path / "episodes").mkdir(parents=True, exist_ok=True)
    arrays.write_group(path / "episodes", {})
    fields = {
        "format": FORMAT,
        "contract": json.loads(contract.to_json()),
        "contract_hash": contract.hash,
        "attributes": attributes,
    }
    temporary = path / f".tmp-root-{uuid.uuid4().hex[:12]}"
    arrays.write_group(path, {"foreact": fields}, name=temporary.name)
    staging.sync_tree(path)
    try:
        # A hard link, unlike a rename, refuses to replace the root that another process has just written.
        os.link(temporary, path / arrays.HEADER)
    except FileExistsError:
        pass
    finally:
        os.remove(temporary)
