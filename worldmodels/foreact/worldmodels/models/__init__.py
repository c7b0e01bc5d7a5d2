"""World models: the K-code model and the baselines that it is held against, all answering `FutureModel`."""
