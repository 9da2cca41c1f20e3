"""The simulation storey: robot, physics, one TorchRL environment; nothing of learning."""
