"""Reports about a reference."""
