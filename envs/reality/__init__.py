"""What makes the ideal robot of the task a real one; the task's functions know nothing of it.

`disturbances` has the pushes. Each further effect gets a file of its own here: servo (friction,
backlash, voltage), sensors (noise, offsets, rates), timing (delays, jitter), faults (a dead servo,
a lost sensor), randomization (parameters of a simulation, drawn at its reset) and ground. Like the
task, an effect is a config dataclass and pure functions of tensors that are given their random
numbers; `envs.step` calls them between the task and the physics. An error that encoders do not
sense, as of a joint's zero, lasts for a whole episode: it is drawn at the reset, not in each step.
"""
