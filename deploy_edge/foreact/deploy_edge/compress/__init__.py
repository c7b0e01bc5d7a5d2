"""`foreact compress`: a trained policy made smaller and faster by the steps of a recipe."""

from foreact.deploy_edge.compress.command import CompressConfig, compress

__all__ = ["CompressConfig", "compress"]
