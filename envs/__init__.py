"""The simulation storey: robot, physics and one TorchRL environment. It knows nothing of learning."""
