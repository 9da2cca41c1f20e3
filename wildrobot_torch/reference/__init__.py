"""Reference motion: what the robot did in simulation, kept where it passes the gates."""
