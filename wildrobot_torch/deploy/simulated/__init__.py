"""A robot in a process of its own: plain MuJoCo behind a socket, with a real robot's faults."""
