"""What a robot's MJCF says of it by geometry alone: a draft of its robot.yaml."""
