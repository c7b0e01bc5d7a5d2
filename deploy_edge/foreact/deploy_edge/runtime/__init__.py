"""What runs on the robot: numpy, one inference engine and the contract; never torch, never a simulator."""

__all__: list[str] = []
