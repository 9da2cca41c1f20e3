"""The robot: its description, its model, what must agree between them."""
