"""What makes the ideal robot of the task a real one; the task's functions know nothing of it.

`servo` and `friction` are the motors, `timing` what is late, `sensors` what is read, `faults` what
passes, `disturbances` the pushes, `randomization` what differs from robot to robot, `lint` what is
refused; `reality` wires them for an environment. An effect is a config dataclass and pure functions
of tensors that are given their random numbers. An error that encoders do not sense, as of a joint's
zero, lasts for a whole episode: it is drawn at the reset, not in each step.
"""
