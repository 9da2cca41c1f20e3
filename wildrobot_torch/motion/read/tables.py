"""Clips as tables (csv) that a spreadsheet opens: a row a frame, columns by name in any order."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from envs.errors import closest
from envs.robot.spec import RobotSpec
from wildrobot_torch.motion.clip import Clip, ClipError
from wildrobot_torch.motion.read.text import read_text
from wildrobot_torch.motion.rotations import Array

TIME = "time_s"
ROOT = ("root_x", "root_y", "root_z", "root_qw", "root_qx", "root_qy", "root_qz")
"""Columns beside the joints', which have the joints' names [rad]: time [s], root [m], wxyz."""
_UNEVEN = 0.05
"""Largest difference of a frame's duration from the mean [1]."""


def text_of(clip: Clip, robot: RobotSpec) -> str:
    """The table of a clip."""
    time = np.arange(clip.num_frames) / clip.fps
    table = np.column_stack([time, clip.root_pos, clip.root_quat, clip.joint_pos])
    rows = [",".join(f"{value:.9g}" for value in row) for row in table]
    return "\n".join([",".join([TIME, *ROOT, *robot.joint_names]), *rows]) + "\n"


def read_clip(path: Path, robot: RobotSpec) -> Clip:
    """The clip in a table that names every joint of the robot.

    Raises:
        ClipError: a column is missing, unknown or twice, a row is damaged, or time goes unevenly.
    """
    columns, fps = read_columns(path)
    wanted = (TIME, *ROOT, *robot.joint_names)
    if missing := [name for name in wanted if name not in columns]:
        guess = closest(missing[0], [name for name in columns if name not in wanted])
        raise ClipError(f"column(s) {', '.join(missing)} missing{guess}; robot {robot.name!r}")
    if unknown := [name for name in columns if name not in wanted]:
        raise ClipError(f"column {unknown[0]!r} is unknown; allowed: {', '.join(wanted)}")
    root = np.column_stack([columns[name] for name in ROOT])
    joints = np.column_stack([columns[name] for name in robot.joint_names])
    return Clip(path.stem, fps, root[:, :3], root[:, 3:], joints, f"table {path.name}")


def read_columns(path: Path) -> tuple[dict[str, Array], float]:
    """Columns (N,) of a table by name, in the file's order, and its rate [1/s].

    Raises:
        ClipError: a row is damaged, a name stands twice, or time is missing or goes unevenly.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    names = [name.strip() for name in lines[0].split(",")] if lines else []
    if TIME not in names or len(set(names)) < len(names):
        raise ClipError(f"columns are {', '.join(names)[:80]}; needed: {TIME}, and each name once")
    rows = [line.split(",") for line in lines[1:]]
    if wrong := [i for i, row in enumerate(rows, 1) if len(row) != len(names)]:
        found = len(rows[wrong[0] - 1])
        raise ClipError(f"row {wrong[0]} has {found} values, {len(names)} needed; cut short?")
    if len(rows) < 2:
        raise ClipError(f"{len(rows)} row(s); a motion has 2 or more")
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ClipError(f"not all values are numbers ({error})") from None
    columns = {name: table[:, i] for i, name in enumerate(names)}
    steps = np.diff(columns[TIME])
    mean = float(steps.mean())
    if not mean > 0.0 or np.abs(steps - mean).max() > _UNEVEN * mean:
        raise ClipError(f"{TIME} goes on by {steps.min():g} to {steps.max():g} s; needed: evenly")
    return columns, float(f"{1.0 / mean:.6g}")  # without what rounding times to digits leaves
