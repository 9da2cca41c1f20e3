"""Motion clips: reading, synthesis, retargeting and augmentation, all without a physics engine."""
