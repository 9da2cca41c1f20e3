"""Motion clips: reading, synthesis, retargeting, augmentation, and servo targets that make them."""
