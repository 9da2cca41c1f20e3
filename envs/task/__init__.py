"""Task arithmetic: pure functions of tensors, an idea per file."""
