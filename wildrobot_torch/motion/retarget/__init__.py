"""From human skeletons to the robot."""
