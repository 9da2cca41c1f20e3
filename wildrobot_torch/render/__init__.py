"""Films and viewer."""
