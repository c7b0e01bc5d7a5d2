"""Which packages foreact asks for, and which are installed, from metadata alone: nothing is imported."""

from dataclasses import dataclass
from importlib import metadata

from packaging.requirements import Requirement

__all__ = ["EXTRAS", "Package", "extra_of", "import_name", "packages"]

EXTRAS = {
    "": "the base install",
    "sim": "tasks, rendering and recording",
    "train": "training and evaluation",
    "edge": "ONNX export and running it",
    "compress": "2:4 sparsity by NVIDIA's Model-Optimizer",
    "openvino": "OpenVINO as an engine",
    "viz": "videos, plots, reports and Rerun recordings",
    "data": "recordings of others: VRS, MCAP and bags, HDF5, Zarr buffers",
    "retarget": "a person's hand to robots: dex-retargeting, inverse kinematics",
    "points": "depth to point clouds: Open3D",
    "senses": "encoders of pictures by name, speech, tokenizers: timm, transformers, espeak-ng",
    "remote": "stores at addresses: memory, HTTP and others by fsspec",
    "dev": "tests and checks",
}
# Import names that differ from the distribution's name by more than "_" for "-".
IMPORT_NAMES = {
    "pillow": "PIL",
    "vrs": "pyvrs",
    "nvidia-modelopt": "modelopt",
    "mcap-ros2-support": "mcap_ros2",
    "hydra-core": "hydra",
    "rerun-sdk": "rerun",
    "pytest-timeout": "pytest_timeout",
}
# Modules of packages that one of ours brings with it, at the version it wants.
BROUGHT_BY = {
    "warp": "mujoco-warp",
    "omegaconf": "hydra-core",
    "yaml": "hydra-core",
    "numcodecs": "zarr",
    "ruamel": "rosbags",
    "datasets": "lerobot",
    "pandas": "lerobot",
    "triton": "torch",
    "huggingface_hub": "transformers",
}


@dataclass(frozen=True)
class Package:
    """One requirement of foreact on this machine.

    Args:
        name: distribution name.
        extra: the extra that asks for it; "" for the base install.
        wanted: version range, such as "==3.17.0".
        installed: version found, or None.
    """

    name: str
    extra: str
    wanted: str
    installed: str | None

    @property
    def fits(self) -> bool:
        """Whether the installed version lies in the range."""
        requirement = Requirement(f"{self.name}{self.wanted}")
        return self.installed is not None and requirement.specifier.contains(self.installed, prereleases=True)


def packages() -> list[Package]:
    """List what the base install and every extra ask for, with what is installed."""
    found = []
    for text in metadata.requires("foreact") or []:
        requirement = Requirement(text)
        extra = _extra_in(requirement)
        wanted_here = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if extra in EXTRAS and wanted_here and requirement.name != "foreact":
            version = _version(requirement.name)
            found.append(Package(requirement.name, extra, str(requirement.specifier), version))
    return found


def extra_of(module: str) -> str | None:
    """Name the extra that brings a module.

    Args:
        module: import name, such as "mujoco" or "PIL.Image".

    Returns:
        the extra that asks for it, the first in the order of `EXTRAS` ("" for the base install), or None.
    """
    root = module.partition(".")[0]
    wanted = BROUGHT_BY.get(root)
    extras = {each.extra for each in packages() if each.name == wanted or import_name(each.name) == root}
    return next((extra for extra in EXTRAS if extra in extras), None)


def import_name(distribution: str) -> str:
    """Say how a distribution is imported."""
    return IMPORT_NAMES.get(distribution, distribution.replace("-", "_"))


def _extra_in(requirement: Requirement) -> str:
    marker = str(requirement.marker or "")
    _, _, after = marker.partition("extra == ")
    return after.strip().strip("\"'")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
