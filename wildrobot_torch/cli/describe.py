"""`wildrobot describe`: a draft of robot.yaml from a robot's MJCF."""

from __future__ import annotations

import argparse

from envs.errors import UserError
from envs.robot.description import FILE_NAME
from envs.robot.inference.draft import draft_robot
from envs.robot.inference.writing import robot_yaml, told
from wildrobot_torch.files import atomic_write
from wildrobot_torch.render.sheet import write_sheet


def main(options: argparse.Namespace) -> int:
    """0 when a draft was written that leaves nothing unknown, 1 when it does."""
    folder = options.out or options.model.parent
    file = folder / FILE_NAME
    if file.exists():
        raise UserError(f"{file} exists and is not written over; give another folder with --out")
    draft = draft_robot(options.model)
    text = robot_yaml(draft, folder)
    print(told(draft))
    with atomic_write(file) as out:
        out.write(text.encode())
    print(f"written: {file}")
    if not options.no_pictures:
        print(f"written: {write_sheet(draft, folder / 'robot.png')}; look at it")
    print(f"next: wildrobot doctor --robot {folder}")
    return 1 if any(finding.surety == "unknown" for finding in draft.findings) else 0
