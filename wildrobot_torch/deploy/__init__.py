"""From a checkpoint to a policy that a robot runs: loading, ONNX export, parity."""
