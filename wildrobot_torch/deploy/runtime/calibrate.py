"""A guided calibration: IMU map, zeros, signs and switches, each asked for and shown.

The dialogue gets its answers from a function, so a script can have it. Servos move in one step
alone: each joint by 2 degrees, through the safety layer, and only after the answer `yes`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise, permutations, product
from pathlib import Path

import numpy as np

from envs.errors import RunError, UserError
from wildrobot_torch.contract import Contract, Readings
from wildrobot_torch.contract import read as read_policy
from wildrobot_torch.deploy.runtime.calibration import (
    Calibration,
    CalibrationError,
    require_rotation,
)
from wildrobot_torch.deploy.runtime.hardware import Array, Hardware, HardwareError, Sample
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.release import released
from wildrobot_torch.deploy.runtime.remote import RemoteRobot
from wildrobot_torch.deploy.runtime.safety import SafeRobot, require_same_joints
from wildrobot_torch.deploy.runtime.selftest import require, self_test, table
from wildrobot_torch.files import WALKING_POLICY

STEPS = ("imu", "zeros", "signs", "switches")
"""In the order in which they are done: a nudge needs zeros, and a start gate that knows upright."""
NUDGE = math.radians(2.0)
"""By which a joint is moved [rad]."""
GESTURE_S = 4.0
"""Time of a gesture [s]."""
GESTURE = math.radians(20.0)
"""Least angle of a gesture [rad]."""
DISAGREE = math.radians(10.0)
"""Most that gyro and quaternion may differ on a gesture [rad]."""
CROOKED = math.radians(20.0)
"""Most that a gesture's axis may be off the map that is made from all three [rad]."""
SQUARE = math.radians(15.0)
"""Within this angle of a map of whole axes, one is proposed [rad]; 13.4 deg was seen by hand."""
CHANGE = math.radians(10.0)
"""A zero that changes by more must be confirmed [rad]; 6.5 deg is the most that was seen."""
UNSTEADY = math.radians(0.5)
"""A joint whose readings spread more is not still [rad]."""
PLATES = ("left_toe", "left_heel", "right_toe", "right_heel")
"""Names of four foot switches, where the hardware has no names for them."""
PERIOD = 0.02
"""Time between two samples [s]."""
GESTURES = {
    "nose down": (0.0, 1.0, 0.0),
    "right side down": (1.0, 0.0, 0.0),
    "turned left": (0.0, 0.0, 1.0),
}
"""What the robot is turned to -> the axis of this rotation in the root's frame (right hand)."""


class StoppedError(RunError):
    """Somebody has ended the calibration; nothing was written."""


@dataclass
class Dialogue:
    """How the calibration talks."""

    ask: Callable[[str], str]
    """Shows a question and returns the answer."""
    say: Callable[[str], None]
    """Shows a line."""
    sleep: Callable[[float], None]
    """Lets a time pass [s]."""

    def choose(self, question: str, *allowed: str) -> str:
        """The answer, one of those allowed; `quit` ends everything.

        Raises:
            StoppedError: the answer was quit.
        """
        words = "/".join((*allowed, "quit"))
        while True:
            answer = self.ask(f"{question} [{words}] ").strip().lower()
            if answer == "quit":
                raise StoppedError("the calibration was ended; nothing was written")
            if answer in allowed:
                return answer
            self.say(f"{answer!r} is not among {words}")

    def go(self, what: str) -> None:
        """Wait until a person is ready.

        Raises:
            StoppedError: see `choose`.
        """
        self.choose(what, "go")


def calibrate(
    hardware: Hardware,
    contract: Contract,
    start: Calibration,
    dialogue: Dialogue,
    limits: SafetyLimits,
    steps: Sequence[str] = STEPS,
    truth: Callable[[], Array] | None = None,
) -> Calibration:
    """A calibration that differs from `start` in the steps that were done.

    Args:
        hardware: the robot.
        contract: whose joints, ranges and home pose count.
        start: what is known before.
        dialogue: with the person.
        limits: of the safety layer that moves the joints.
        steps: which of `STEPS`.
        truth: of a simulated robot, its joints (J,) [rad] in the contract's order; it then answers
            what a person sees of the joints.

    Raises:
        CalibrationError: a measurement cannot be right.
        StoppedError: a person has ended it.
    """
    made, shown, pose = start, None, contract.home
    if "imu" in steps:
        made = replace(made, imu_map=_imu_map(hardware, dialogue))
    if "zeros" in steps:
        if truth is None:
            dialogue.say("Put every joint into its home pose, by a jig or by eye:")
            for name, angle in zip(contract.joint_names, contract.home, strict=True):
                dialogue.say(f"  {name:<20} {math.degrees(angle):+7.2f} deg")
            dialogue.go("The servos stay without torque. In place?")
        pose = contract.home if truth is None else truth()
        shown = still_positions(hardware, dialogue.sleep)[np.array(made.order)]
        made = _zeros(made, shown, pose, dialogue)
    if "signs" in steps:
        signs = _signs(hardware, contract, made, dialogue, limits, truth)
        made = replace(made, sign=signs)
        if shown is not None:  # the zeros were measured with the signs before
            made = replace(made, zero=shown - signs * pose)
    if "switches" in steps and made.plates:
        made = _switches(hardware, made, dialogue)
    return made


# IMU


def _imu_map(hardware: Hardware, dialogue: Dialogue) -> Array:
    """(3, 3): the rotation from the IMU's axes to the root's, from three gestures."""
    dialogue.say(
        "Three gestures by hand, 30 deg or more each. Begin upright, turn within "
        f"{GESTURE_S:g} s, and hold the end."
    )
    axes = []
    for name in GESTURES:
        dialogue.go(f"Gesture: {name}. Upright and still?")
        samples = watch(hardware, GESTURE_S, dialogue.sleep)
        axis, angle = gesture(name, samples)
        dialogue.say(f"  turned by {math.degrees(angle):.0f} deg about ({_words(axis)}) of the IMU")
        axes.append(axis)
    measured, off = map_of_gestures(axes)
    dialogue.say(f"The gestures fit one rotation within {math.degrees(off):.1f} deg:")
    whole, apart = nearest_whole_map(measured)
    for row, name in zip(measured, ("forward", "left", "up"), strict=True):
        dialogue.say(f"  {name:<8} is ({_words(row)}) of the IMU")
    if apart > SQUARE:
        dialogue.say(f"No map of whole axes is near ({math.degrees(apart):.0f} deg).")
        return measured
    dialogue.say(f"Nearest map of whole axes, {math.degrees(apart):.1f} deg away:")
    for row, name in zip(whole, ("forward", "left", "up"), strict=True):
        dialogue.say(f"  {name:<8} is ({_words(row)}) of the IMU")
    chosen = dialogue.choose("Is the IMU mounted square to the body?", "yes", "no")
    return whole if chosen == "yes" else measured


def watch(hardware: Hardware, seconds: float, sleep: Callable[[float], None]) -> tuple[Sample, ...]:
    """Samples of some seconds."""
    samples = []
    for _ in range(round(seconds / PERIOD)):
        samples.append(hardware.read())
        sleep(PERIOD)
    return tuple(samples)


def gesture(name: str, samples: Sequence[Sample]) -> tuple[Array, float]:
    """Axis (3,) in the IMU's frame and angle [rad] by which the robot was turned.

    Raises:
        CalibrationError: it was turned too little, or gyro and quaternion say different things.
    """
    known = [s for s in samples if np.isfinite([*s.quat, *s.gyro]).all()]
    if len(known) < 2:
        raise CalibrationError(f"{name}: the IMU reports nothing; check its wiring")
    turned = _matrix(known[0].quat).T @ _matrix(known[-1].quat)
    vector = _rotation_vector(turned)
    angle = float(np.linalg.norm(vector))
    summed = np.eye(3)
    for before, after in pairwise(known):
        passed = after.imu_time - before.imu_time
        summed = summed @ _about(0.5 * (before.gyro + after.gyro) * passed)
    off = float(np.linalg.norm(_rotation_vector(summed.T @ turned)))
    if off > max(DISAGREE, 0.25 * angle):
        raise CalibrationError(
            f"{name}: gyro and quaternion differ by {math.degrees(off):.0f} deg; the quaternion "
            "must be w, x, y, z from the IMU to the world, the gyro in rad/s"
        )
    if angle < GESTURE:
        raise CalibrationError(
            f"{name}: turned by {math.degrees(angle):.0f} deg; {math.degrees(GESTURE):.0f} deg or "
            "more is needed: do it again"
        )
    return vector / angle, angle


def map_of_gestures(axes: Sequence[Array]) -> tuple[Array, float]:
    """The rotation (3, 3) nearest to three axes in the IMU's frame, in the order of `GESTURES`.

    Returns it with the largest angle [rad] between an axis and what the rotation makes of it.

    Raises:
        CalibrationError: the axes are left-handed or too far from right angles.
    """
    of_root = np.array(list(GESTURES.values()))
    measured = of_root.T @ np.array(axes)  # rows: the root's axes, in the IMU's frame
    if np.linalg.det(measured) <= 0.0:
        raise CalibrationError(
            "the gestures make no rotation but a mirror image: one was turned the wrong way, or "
            "two were exchanged; do all three again"
        )
    u, _, v = np.linalg.svd(measured)
    nearest = u @ v
    cosine = np.clip((nearest * measured).sum(axis=1), -1.0, 1.0)
    off = float(np.arccos(cosine).max())
    if off > CROOKED:
        raise CalibrationError(
            f"the gestures' axes are {math.degrees(off):.0f} deg off right angles; at most "
            f"{math.degrees(CROOKED):.0f} deg: turn the robot about one axis at a time"
        )
    require_rotation(nearest, "the map of the gestures")
    return nearest, off


def nearest_whole_map(rotation: Array) -> tuple[Array, float]:
    """The rotation of whole axes nearest to one, and the angle between them [rad]."""
    best, least = np.eye(3), math.inf
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            whole = np.zeros((3, 3))
            whole[range(3), order] = signs
            apart = float(np.linalg.norm(_rotation_vector(whole.T @ rotation)))
            if np.linalg.det(whole) > 0.0 and apart < least:
                best, least = whole, apart
    return best, least


# Zeros


def still_positions(hardware: Hardware, sleep: Callable[[float], None]) -> Array:
    """What servos (J,) [rad] show while the robot is still, in the hardware's order.

    Raises:
        CalibrationError: a servo does not answer, or its joint moves.
    """
    positions = np.array([sample.position for sample in watch(hardware, 1.0, sleep)])
    names = hardware.joint_names
    if not np.isfinite(positions[-1]).all():
        silent = [n for n, p in zip(names, positions[-1], strict=True) if not math.isfinite(p)]
        raise CalibrationError(f"no reading of {', '.join(silent)}; check wiring and servo number")
    positions = positions[np.isfinite(positions).all(axis=1)]
    spread = np.ptp(positions, axis=0)
    if spread.max() > UNSTEADY:
        moving = names[int(spread.argmax())]
        raise CalibrationError(
            f"{moving} moved by {math.degrees(spread.max()):.1f} deg within a second; hold the "
            "robot still and do it again"
        )
    return np.median(positions, axis=0)


def _zeros(made: Calibration, shown: Array, pose: Array, dialogue: Dialogue) -> Calibration:
    zero = shown - made.sign * pose
    changed = zero - made.zero
    dialogue.say("joint                 shows [deg]   zero before   zero now    change")
    for index, name in enumerate(made.joint_names):
        numbers = np.degrees([shown[index], made.zero[index], zero[index], changed[index]])
        mark = "  <-- far" if abs(changed[index]) > CHANGE else ""
        dialogue.say(f"{name:<20} " + "".join(f"{n:+12.2f}" for n in numbers) + mark)
    proposed = replace(made, zero=zero)  # refuses zeros beyond the servo's offset register
    question = "Take these zeros?"
    if np.abs(changed).max() > CHANGE:
        far = made.joint_names[int(np.abs(changed).argmax())]
        question = (
            f"{far} changes by {math.degrees(np.abs(changed).max()):.1f} deg, more than "
            f"{math.degrees(CHANGE):.0f}: is the horn where it was? Take these zeros all the same?"
        )
    if dialogue.choose(question, "yes", "no") == "no":
        raise StoppedError("the zeros were not taken; nothing was written")
    return proposed


# Signs


def _signs(
    hardware: Hardware,
    contract: Contract,
    made: Calibration,
    dialogue: Dialogue,
    limits: SafetyLimits,
    truth: Callable[[], Array] | None,
) -> Array:
    """(J,): +1 or -1, from a move of 2 degrees that a person, or the simulation, sees."""
    dialogue.say("Each joint will be moved by 2 deg and back, the others held. Hang the robot up.")
    if dialogue.choose("Move the joints?", "yes", "no") == "no":
        raise StoppedError("the joints were not moved; nothing was written")
    robot = SafeRobot(hardware, made, contract, limits)
    signs = made.sign.copy()
    look = (lambda: np.zeros(len(signs))) if truth is None else truth
    for joint, name in enumerate(contract.joint_names):
        at = float(_get_ready(robot, dialogue).joint_pos[joint])
        low, high = contract.joint_range[joint]
        way = NUDGE if at + NUDGE <= high or at - NUDGE < low else -NUDGE
        before = look()
        read, after = robot.nudge(joint, way, dialogue.sleep, look)
        if abs(read[joint]) < 0.4 * NUDGE:
            robot.e_stop()
            raise CalibrationError(
                f"{name} was told to move by {math.degrees(way):+.1f} deg and moved by "
                f"{math.degrees(read[joint]):+.2f}; is it free, and is this its servo?"
            )
        robot.let_go()
        if truth is None:
            side = "positive" if way > 0 else "negative"
            answer = dialogue.choose(
                f"{name} was moved to its {side} side (docs/safety.md says which that is) and "
                "back. Did it turn that way, the other way, or did another joint move?",
                "yes", "other", "wrong",
            )  # fmt: skip
        else:
            turned = (after - before) / way
            most = int(np.abs(turned).argmax())
            answer = "wrong" if most != joint else "yes" if turned[joint] > 0.0 else "other"
        if answer == "wrong":
            raise CalibrationError(
                f"another joint moved instead of {name}: servo numbers are exchanged; give each "
                "servo the number of its joint"
            )
        signs[joint] *= 1.0 if answer == "yes" else -1.0
        dialogue.say(f"  {name:<20} sign {signs[joint]:+.0f}")
    return signs


def _get_ready(robot: SafeRobot, dialogue: Dialogue) -> Readings:
    """Read until the robot may be moved; returns the last readings."""
    for _ in range(round(3.0 / PERIOD)):
        readings = robot.read()
        if not robot.not_ready:
            return readings
        dialogue.sleep(PERIOD)
    raise CalibrationError(f"the robot cannot be moved: {'; '.join(robot.not_ready)}")


# Switches


def _switches(hardware: Hardware, made: Calibration, dialogue: Dialogue) -> Calibration:
    dialogue.go("Lift the robot, so that no foot switch is pressed. Free?")
    free, inputs, inverted = _levels(hardware, dialogue), [], []
    for plate in made.plates:
        dialogue.go(f"Press the switch {plate} and hold it. Pressed?")
        changed = np.flatnonzero(_levels(hardware, dialogue) != free)
        if len(changed) != 1:
            found = f"inputs {', '.join(map(str, changed))} changed" if len(changed) else "none did"
            raise CalibrationError(
                f"{plate}: one input must change, {found}; check its wiring and press one alone"
            )
        (index,) = changed
        if index in inputs:
            raise CalibrationError(
                f"{plate}: input {index} is that of {made.plates[inputs.index(index)]} already"
            )
        inputs.append(int(index))
        inverted.append(bool(free[index] == 1.0))
        dialogue.say(f"  {plate:<12} input {index}{', inverted' * inverted[-1]}")
    return replace(made, switch_order=tuple(inputs), switch_inverted=tuple(inverted))


def _levels(hardware: Hardware, dialogue: Dialogue) -> Array:
    """What each input reads most of the time: one that is pressed may read open now and then."""
    samples = watch(hardware, 0.3, dialogue.sleep)
    return np.round(np.mean([sample.switches for sample in samples], axis=0))


# Rotations


def _words(vector: Array) -> str:
    return ", ".join(f"{value:+.2f}" for value in vector)


def _matrix(quat: Array) -> Array:
    """Rotation (3, 3) of a quaternion (wxyz) of any length."""
    w, x, y, z = quat / np.linalg.norm(quat)
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def _about(vector: Array) -> Array:
    """Rotation (3, 3) about a vector (3,) by its length [rad]: Rodrigues' formula."""
    angle = float(np.linalg.norm(vector))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross


def _rotation_vector(matrix: Array) -> Array:
    """Axis times angle (3,) [rad] of a rotation by less than half a turn."""
    angle = math.acos(max(-1.0, min(1.0, (float(np.trace(matrix)) - 1.0) / 2.0)))
    skew = np.array([
        matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]
    ])  # fmt: skip
    length = float(np.linalg.norm(skew))
    if length < 1e-9:
        return np.array([angle, 0.0, 0.0])
    return angle * skew / length


# The program


def main(read: argparse.Namespace) -> int:
    """`wildrobot calibrate`: 0 when the file was written."""
    contract, _ = read_policy(read.policy or WALKING_POLICY)
    with ExitStack() as stack:
        hardware = stack.enter_context(released(_robot(read.robot, contract.robot)))
        truth = None
        if read.yes:
            if not isinstance(hardware, RemoteRobot):
                raise UserError("--yes answers for simulated robots alone; a real one must be seen")
            truth = _truth(hardware, contract)
        start = _start(read.out, hardware, contract)
        by_hand = [step for step in read.steps if step in ("imu", "switches")]
        if read.yes and by_hand:
            print(f"not done with --yes, it takes hands: {', '.join(by_hand)}")
        steps = [step for step in read.steps if not (read.yes and step in by_hand)]
        limits = SafetyLimits.load() if read.safety is None else SafetyLimits.load(read.safety)
        sleep = getattr(hardware, "sleep", time.sleep)
        dialogue = Dialogue(_yes if read.yes else _input, print, sleep)
        try:
            made = calibrate(hardware, contract, start, dialogue, limits, steps, truth)
        except HardwareError as error:
            raise StoppedError(f"{error}; nothing was written") from error
        checks = self_test(made, contract, hardware.joint_names)
        print(table(checks))
        require(checks)
    backup = made.save(read.out)
    print(f"wrote {read.out}" + (f"; what was there before is {backup}" if backup else ""))
    return 0


def _robot(name: str, simulated: str) -> Hardware:
    """See `open_robot`; a simulated robot that is started hangs, and its time is its own."""
    from wildrobot_torch.deploy.runtime.main import open_robot

    if name == "simulated":
        hung = {"robot": simulated, "gantry_hold_s": 1e6, "gantry_lift": 0.1}
        return RemoteRobot.start(hung, lockstep=True)
    return open_robot(name)


def _truth(robot: RemoteRobot, contract: Contract) -> Callable[[], Array]:
    """A function that returns a simulated robot's joints (J,) [rad], in the contract's order."""
    index = np.array([robot.joint_names.index(name) for name in contract.joint_names])
    return lambda: robot.truth().qpos[7:][index]


def _start(path: Path, hardware: Hardware, contract: Contract) -> Calibration:
    """What is known before: the file, or a robot that is built as the contract has it."""
    missing = [name for name in contract.joint_names if name not in hardware.joint_names]
    if missing:
        raise UserError(
            f"the hardware has no servo of {', '.join(missing)}; it has "
            f"{', '.join(hardware.joint_names)}: check wiring, servo numbers and boards"
        )
    if path.exists():
        start = Calibration.load(path)
        require_same_joints(hardware.joint_names, start, contract)
        return start
    said = getattr(hardware, "description", {})
    count = len(hardware.read().switches)
    plates = said.get("plates", PLATES if count == len(PLATES) else range(count))
    made = Calibration.identity(contract.joint_names, tuple(map(str, plates)))
    order = tuple(hardware.joint_names.index(name) for name in contract.joint_names)
    return replace(made, order=order)


def _yes(question: str) -> str:
    """Agrees to everything, and says so."""
    answer = "go" if "[go" in question else "yes"
    print(question + answer)
    return answer


def _input(question: str) -> str:
    try:
        return input(question)
    except EOFError:
        return "quit"
