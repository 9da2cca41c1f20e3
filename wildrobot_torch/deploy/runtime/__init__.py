"""A policy's control loop on the robot: numpy, onnxruntime and pyyaml, no torch, no simulator."""
