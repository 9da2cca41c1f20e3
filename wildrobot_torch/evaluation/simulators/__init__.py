"""The same policy in other simulators, by its exported contract alone."""
