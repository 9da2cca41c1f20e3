"""Reference motion: what the robot did under gates, frame by frame, for the discriminator to learn."""
