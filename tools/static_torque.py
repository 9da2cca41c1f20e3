"""Torque that only carrying the robot needs along a reference.

In each frame nothing moves: the joints carry the robot, and the floor bears it at the middle of
each sole, with the force that the reference has there. What a controller adds is for the motion.
Prints the RMS of each joint's torque by speed, and the torque of the home pose:
`python tools/static_torque.py runs/reference/walking.npz`. Exit code 0, 2 for bad input.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mujoco
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from envs.robot.description import FILE_NAME, read_description
from envs.robot.model import RobotModel, load_robot
from envs.robot.spec import FEET
from envs.task.features import amp_layout
from wildrobot_torch.cli.main import run
from wildrobot_torch.cli.options import Parser
from wildrobot_torch.evaluation.report import number, table
from wildrobot_torch.reference.dataset import ReferenceDataset

SPEEDS = ((-0.05, 0.05), (0.05, 0.25), (0.25, 0.4), (0.4, 0.7))
"""Ranges of mean speed [m/s] that have a row each."""
EVERY = 10
"""Frames between two that are looked at."""


def parser() -> Parser:
    """The command line of this tool."""
    parser = Parser(
        "static_torque",
        "Torque that carrying the robot alone needs along a reference.",
        "python tools/static_torque.py runs/reference/walking.npz",
    )
    parser.add_argument("reference", type=Path, help="reference (.npz) of `wildrobot reference`")
    return parser


def static_torques(loaded: RobotModel, qpos: np.ndarray, foot_force: np.ndarray) -> np.ndarray:
    """(N, J) [N m]: of the joints in N poses (N, nq), at rest.

    Args:
        loaded: the robot.
        qpos: the poses.
        foot_force: (N, 2) [N], upwards, at the middle of the left and the right sole.
    """
    model, data = loaded.model, mujoco.MjData(loaded.model)
    feet = read_description(loaded.directory / FILE_NAME).feet
    soles = [model.site(feet[name].site).id for name in FEET]
    joints = loaded.robot.joint_qvel_adr.numpy()
    torques = np.empty((len(qpos), len(joints)))
    for k, pose in enumerate(qpos):
        data.qpos[:], data.qvel[:] = pose, 0.0
        mujoco.mj_forward(model, data)
        needed = data.qfrc_bias.copy()  # at rest: what gravity asks of each degree of freedom
        for sole, force in zip(soles, foot_force[k], strict=True):
            jacobian = np.zeros((3, model.nv))
            mujoco.mj_jacSite(model, data, jacobian, None, sole)
            needed -= force * jacobian[2]
        torques[k] = needed[joints]
    return torques


def main(words: list[str]) -> int:
    """Exit code; nothing is written."""
    options = parser().parse_args(words)
    loaded = load_robot()
    robot = loaded.robot
    dataset = ReferenceDataset.load(options.reference, amp_layout(robot), robot.digest)
    frames = np.arange(0, dataset.num_frames, EVERY)
    found = static_torques(loaded, dataset.qpos[frames].numpy(), dataset.foot_force[frames].numpy())
    speed = dataset.segment_velocity.repeat_interleave(dataset.segment_length)[frames].numpy()
    rows = []
    for low, high in SPEEDS:
        chosen = found[(speed >= low) & (speed < high)]
        if len(chosen):
            rms = np.sqrt(np.square(chosen).mean(0))
            rows.append([f"{low:g} to {high:g} m/s", len(chosen), *map(number, rms.tolist())])
    home = static_torques(loaded, robot.home_qpos[None].numpy(), np.full((1, 2), robot.weight / 2))
    rows.append(["home pose", 1, *map(number, home[0].tolist())])
    print("\n".join(table(["", "frames", *robot.joint_names], rows)))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
