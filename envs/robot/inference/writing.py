"""The draft as the text of a robot.yaml, and as lines for a terminal."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import numpy as np
import yaml

from envs.robot.inference.draft import SURETIES, Draft
from envs.robot.inference.soles import Sole
from envs.robot.spec import FEET

Array = np.ndarray


def robot_yaml(draft: Draft, folder: Path) -> str:
    """Text of robot.yaml for a folder, which names the MJCF relative to it."""
    tree = draft.tree
    model = os.path.relpath(draft.path.resolve(), folder.resolve())
    lines = [
        f"# Draft of {draft.name}, made from its MJCF by geometry. Units rad, rad/s, N m, m, kg.",
        *_to_check(draft),
        f"name: {_word(draft.name)}",
        f"model: {_word(Path(model).as_posix())}",
        f"root: {{{', '.join(_root(draft))}}}",
        f"mass: {tree.mass:.7g}",
        "",
        "# + flexes hip and knee, turns a leg or foot inwards, points the toes down.",
        "joints:",
        *_joints(draft),
    ]
    for key, joints in (("held", draft.held), ("fixed", draft.fixed)):
        if joints:
            lines += _list(key, [tree.joint_name(joint) for joint in joints])
    lines += ["legs:"]
    for side, leg in zip(("left", "right"), draft.legs, strict=True):
        lines.append(f"  {side}: [{', '.join(_word(tree.joint_name(j)) for j in leg.joints)}]")
    lines += [
        "",
        "# The sole's frame in the foot's body: under the ankle, in the plane of the sole.",
    ]
    lines += ["feet:"]
    for foot, sole in zip(FEET, draft.soles, strict=True):
        lines.append(f"  {foot}: {{body: {_word(tree.body_name(sole.body))}, sole: {_sole(sole)}}}")
    lines += _plates(draft)
    if draft.imu is not None:
        lines += ["", f"imu: {{site: {_word(draft.imu)}}}"]
    lines += _home(draft)
    return "\n".join(lines) + "\n"


def told(draft: Draft, width: int = 100) -> str:
    """All findings as lines: how sure, what, and the text."""
    lines = []
    for finding in draft.findings:
        first = f"{finding.surety:8s} {finding.item:7s} "
        wrapped = textwrap.wrap(finding.text, width - len(first), break_on_hyphens=False)
        lines += [first + wrapped[0], *(" " * len(first) + line for line in wrapped[1:])]
    counts = {s: sum(f.surety == s for f in draft.findings) for s in SURETIES}
    lines.append("; ".join(f"{number} {surety}" for surety, number in counts.items()))
    return "\n".join(lines)


def _to_check(draft: Draft) -> list[str]:
    """Comment lines with what is not sure."""
    open_ = [f for f in draft.findings if f.surety in ("guess", "unknown")]
    if not open_:
        return []
    lines = ["# To check:"]
    for finding in open_:
        text = f"{finding.item}, {finding.surety}: {finding.text}"
        lines += textwrap.wrap(
            text, 96, initial_indent="# - ", subsequent_indent="#   ", break_on_hyphens=False
        )
    return lines


def _word(text: str) -> str:
    """A name as YAML has it: quoted where it must be."""
    return yaml.safe_dump(text, width=10**6).removesuffix("\n...\n").rstrip("\n")


def _number(value: float, digits: int = 4) -> str:
    text = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _vector(values: Array, digits: int = 4) -> str:
    return "[" + ", ".join(_number(float(value), digits) for value in values) + "]"


def _root(draft: Draft) -> list[str]:
    tree, axes = draft.tree, draft.frame.axes
    words = [f"body: {_word(tree.body_name(tree.root))}"]
    name = tree.model.joint(int(tree.model.body_jntadr[tree.root])).name
    if name:
        words.append(f"joint: {_word(name)}")
    if np.abs(axes[0] - (1, 0, 0)).max() > 1e-6:
        words.append(f"forward: {_vector(axes[0], 6)}")
    if np.abs(axes[2] - (0, 0, 1)).max() > 1e-6:
        words.append(f"up: {_vector(axes[2], 6)}")
    return words


def _joints(draft: Draft) -> list[str]:
    tree, lines = draft.tree, []
    images = {p.left: (p.right, p.sign) for p in draft.pairs}
    images |= {p.right: (p.left, p.sign) for p in draft.pairs}
    for joint in draft.driven:
        other, sign = images[joint]
        servo = draft.servos[joint]
        words = [
            f"mirror: {_word(tree.joint_name(other))}",
            f"mirror_sign: {sign}",
            f"action_sign: {draft.motions[joint].action_sign}",
        ]
        if servo.range is None:
            words.append("range: [-1.57, 1.57]")
        words.append(f"max_velocity: {draft.speed():g}")
        if servo.torque is None or servo.kp is None:  # a motor's limit is that of its control
            words.append(f"max_torque: {draft.torque(joint):g}")
        if (gains := draft.gains(joint)) is not None:
            words += [f"kp: {gains[0]:g}", f"kv: {gains[1]:g}"]
        lines.append(f"  {_word(tree.joint_name(joint))}: {{{', '.join(words)}}}")
    return lines


def _list(key: str, names: list[str]) -> list[str]:
    text = f"{key}: [{', '.join(map(_word, names))}]"
    return textwrap.wrap(text, 100, subsequent_indent="  ", break_on_hyphens=False,
                         break_long_words=False)  # fmt: skip


def _sole(sole: Sole) -> str:
    words = [f"pos: {_vector(sole.pos, 5)}"]
    if np.abs(sole.quat - (1, 0, 0, 0)).max() > 1e-5:
        words.append(f"quat: {_vector(sole.quat, 6)}")
    words += [f"{key}: {_number(getattr(sole, key), 5)}" for key in ("heel", "toe", "width")]
    return "{" + ", ".join(words) + "}"


def _plates(draft: Draft) -> list[str]:
    """Named boxes under each foot as plates, front to back, where both feet have as many."""
    model, feet = draft.tree.model, []
    for sole in draft.soles:
        names = {model.geom(g).name: float(model.geom_pos[g] @ _forward(sole)) for g in sole.geoms}
        feet.append(sorted(names, key=lambda name: -names[name]))
    if len(feet[0]) != len(feet[1]) or not 2 <= len(feet[0]) <= 4 or "" in {*feet[0], *feet[1]}:
        return []
    rows = [
        f"  {_word(name)}: {foot}" for foot, names in zip(FEET, feet, strict=True) for name in names
    ]
    return ["", "# Contact plate -> foot, front to back.", "plates:", *rows]


def _forward(sole: Sole) -> Array:
    """(3,) the toes' direction in the foot body's frame."""
    w, x, y, z = sole.quat
    return np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)])


def _home(draft: Draft) -> list[str]:
    if draft.home is None or draft.home_from == "keyframe home":
        return []
    source = "found by search" if draft.home_from == "search" else f"from {draft.home_from}"
    angles = {joint: a for joint, a in draft.home.angles.items() if abs(a) > 5e-5}
    lines = ["", f"# {source[0].upper()}{source[1:]}; joints that are not named are at 0."]
    if not angles:
        return [*lines, "home: {}"]
    names = {joint: _word(draft.tree.joint_name(joint)) for joint in angles}
    return [*lines, "home:", *(f"  {names[j]}: {_number(a)}" for j, a in angles.items())]
