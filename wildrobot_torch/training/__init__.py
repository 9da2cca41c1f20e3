"""The training: Lightning module, data, callbacks, checkpoints."""
