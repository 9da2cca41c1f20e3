"""A stranger's MJCF, completed in memory by what its robot.yaml needs."""
