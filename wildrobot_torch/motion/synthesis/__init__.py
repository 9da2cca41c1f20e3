"""Walking clips made from footsteps and a pendulum."""
