"""Write motion clips: built-in walking and standing, and human walking retargeted to the robot.

python tools/make_clips.py --out runs/clips --speeds 0.1 0.2 0.3 --cmu ../shared/motions/cmu
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from envs.robot.model import load_robot
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.read.files import Clip, load_clips, save_clip
from wildrobot_torch.motion.synthesis.walk import standing_clip, walking_clip

SPEEDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code of the tool: 0, or 2 with one line on stderr if something was not as wanted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder the .npz clips go to")
    parser.add_argument(
        "--speeds", type=float, nargs="*", default=list(SPEEDS), help="of the built-in walk [m/s]"
    )
    parser.add_argument("--duration", type=float, default=10.0, help="of built-in clips [s]")
    parser.add_argument("--fps", type=float, default=50.0, help="frames per second [1/s]")
    parser.add_argument("--cmu", type=Path, help="folder with CMU .asf and .amc files")
    options = parser.parse_args(arguments)
    try:
        robot = load_robot().robot
        clips = [standing_clip(robot, options.duration, options.fps)]
        clips += [walking_clip(robot, v, options.duration, options.fps) for v in options.speeds]
        if options.cmu is not None:
            clips += [clip.resample(options.fps) for clip in load_clips(options.cmu, robot)]
        for clip in clips:
            save_clip(clip, options.out / f"{clip.name}.npz", robot)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(table(clips, robot)))
    return 0


def table(clips: Sequence[Clip], robot: RobotSpec) -> list[str]:
    """Lines of a table with one clip each."""
    head = f"{'clip':<22}{'s':>7}{'m/s':>7}{'hip m':>8}{'max rad/s':>11}{'on stop':>9}"
    lines = [head, "-" * len(head)]
    limits = robot.joint_range.double().numpy()
    for clip in clips:
        joint_vel = clip.velocities(robot)[2]
        near = (clip.joint_pos < limits[:, 0] + 0.02) | (clip.joint_pos > limits[:, 1] - 0.02)
        lines.append(
            f"{clip.name:<22}{clip.duration_s:>7.2f}{clip.mean_speed:>7.3f}"
            f"{clip.root_pos[:, 2].mean():>8.3f}{np.abs(joint_vel).max():>11.1f}"
            f"{near.any(1).mean():>9.0%}"
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
