"""A draft of robot.yaml, with how sure each of its items is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import mujoco
import numpy as np

from envs.robot.inference.frame import Frame, place
from envs.robot.inference.homes import LEAN, LEVEL, Stance, Stander
from envs.robot.inference.limbs import Leg, find_legs
from envs.robot.inference.mirrors import Pair, measured, pair_joints
from envs.robot.inference.motions import Evidence, Motion, axes_of, kinds_of, motions_of, soles_of
from envs.robot.inference.reading import read_mjcf
from envs.robot.inference.servos import (
    DAMPING_TIME,
    FASTEST,
    GAIN_SHARE,
    SPEED_SHARE,
    TORQUE_SHARE,
    Servo,
    servo_of,
)
from envs.robot.inference.soles import Sole
from envs.robot.inference.tree import Tree, find_tree

Array = np.ndarray

Surety = Literal["sure", "likely", "guess", "unknown"]
SURETIES: tuple[Surety, ...] = ("sure", "likely", "guess", "unknown")
"""sure: the geometry leaves no other reading. likely: it speaks for this. guess: a number or choice
that the MJCF does not hold. unknown: to be given by hand, or something that will not work."""

SMALL_GAP, LARGE_GAP = 0.002, 0.02
"""Miss of a mirrored sole, as a share of the leg's length, that is small, and that is no mirror
image any more."""

HOME_NAMES = ("home", "stand", "crouch", "squat", "init", "default")
"""Words in the names of keyframes that are more likely home, the likeliest first."""
UNNAMED_COST = 0.4
"""A keyframe of another name is taken if its cost, see `Stander.cost`, is not above this."""


@dataclass(frozen=True)
class Finding:
    """One thing said of the robot."""

    item: str
    surety: Surety
    text: str


@dataclass(frozen=True)
class Draft:
    """What was found of a robot."""

    path: Path
    name: str
    tree: Tree
    frame: Frame
    legs: tuple[Leg, Leg]
    kinds: tuple[str, ...]
    """Kinds of a leg's joints, from the trunk on."""
    soles: tuple[Sole, Sole]
    motions: dict[int, Motion]
    """What the joints of the legs do."""
    pairs: tuple[Pair, ...]
    servos: dict[int, Servo]
    inertia: dict[int, float]
    """Joint of a leg -> inertia about it at home, its armature included [kg m^2]."""
    driven: tuple[int, ...]
    """Joints that the policy drives, in its order."""
    held: tuple[int, ...]
    fixed: tuple[int, ...]
    imu: str | None
    """Site of the IMU; None for the root's own frame."""
    home: Stance | None
    home_from: str
    """The keyframe it is, or `search`."""
    length: float
    """Of a leg [m]."""
    findings: tuple[Finding, ...]

    def torque(self, joint: int) -> float:
        """Largest torque of a joint of a leg: the MJCF's, or a guess [N m]."""
        return self.servos[joint].torque or self._guess(TORQUE_SHARE)

    def gains(self, joint: int) -> tuple[float, float] | None:
        """Guess of kp and kv for a joint of a leg without a position servo; None with one."""
        if self.servos[joint].kp is not None:
            return None
        highest = self.inertia[joint] / FASTEST**2
        kp = _rounded(min(self._guess(GAIN_SHARE), highest))
        return kp, _rounded(kp * DAMPING_TIME * float(np.sqrt(self.length / self.gravity)))

    def speed(self) -> float:
        """Guess of the servos' speed [rad/s]."""
        return _rounded(SPEED_SHARE * float(np.sqrt(self.gravity / self.length)))

    @property
    def gravity(self) -> float:
        """Magnitude of gravity [m/s^2]."""
        return float(np.linalg.norm(self.tree.model.opt.gravity)) or 9.81

    def _guess(self, share: float) -> float:
        return _rounded(share * self.tree.mass * self.gravity * self.length)


def draft_robot(path: Path | str) -> Draft:
    """The robot in an MJCF file, found by geometry.

    Raises:
        InferenceError: the file cannot be read, or what is in it is no biped.
    """
    read = read_mjcf(path)
    findings = [Finding("file", "sure", note) for note in read.notes]
    tree, notes = find_tree(read.model)
    findings += [Finding("file", "sure", note) for note in notes]
    found = find_legs(tree)
    frame, legs, evidence = axes_of(tree, found)
    soles = soles_of(tree, frame, legs)
    kinds = kinds_of(tree, frame, legs[0])
    motions = {
        motion.joint: motion
        for leg, side, sole in zip(legs, (1, -1), soles, strict=True)
        for motion in motions_of(tree, frame, leg, side, sole)
    }
    pairs, alone = pair_joints(tree, frame, legs, found.trunk)
    places = [(sole.body, sole.pos, sole.quat) for sole in soles]
    pairs = tuple(
        measured(tree, frame, pair, places) if pair.left in legs[0].joints else pair
        for pair in pairs
    )
    servos = {joint: servo_of(tree, joint) for joint in tree.joints}
    driven = _in_order(tree, [joint for leg in legs for joint in leg.joints])
    others = [joint for joint in tree.joints if joint not in driven]
    held = tuple(
        joint
        for joint in _in_order(tree, others)
        if servos[joint].kp is not None and _is_hinge(tree, joint)
    )
    fixed = tuple(joint for joint in others if joint not in held)
    leg_pairs = tuple(pair for pair in pairs if pair.left in legs[0].joints)
    imu, imu_finding = _find_imu(tree)
    probe = Stander(tree, frame, legs, soles, leg_pairs, kinds, {})
    length = probe.reach()
    weight = tree.mass * float(np.linalg.norm(tree.model.opt.gravity))
    limits = {j: servos[j].torque or _rounded(TORQUE_SHARE * weight * length) for j in driven}
    stander = Stander(tree, frame, legs, soles, leg_pairs, kinds, limits)
    home, home_from, home_findings = _find_home(tree, stander)
    inertia = _inertia(tree, frame, home, driven)
    draft = Draft(
        path=Path(path), name=_name(tree.model, Path(path)), tree=tree, frame=frame, legs=legs,
        kinds=kinds, soles=soles, motions=motions, pairs=pairs, servos=servos, inertia=inertia,
        driven=driven, held=held, fixed=fixed, imu=imu, home=home, home_from=home_from,
        length=length, findings=(),
    )  # fmt: skip
    findings += _root_findings(draft, found.pose, evidence)
    findings += _leg_findings(draft)
    findings += _pair_findings(draft, alone)
    findings += _sole_findings(draft)
    findings += [imu_finding, *home_findings, *_servo_findings(draft), *_other_findings(draft)]
    return replace(draft, findings=tuple(findings))


def _inertia(
    tree: Tree, frame: Frame, home: Stance | None, joints: Iterable[int]
) -> dict[int, float]:
    data = place(tree, frame, home.angles if home is not None else None)
    mujoco.mj_forward(tree.model, data)
    full = np.zeros((tree.model.nv, tree.model.nv))
    mujoco.mj_fullM(tree.model, data, full)
    return {j: float(full[tree.model.jnt_dofadr[j], tree.model.jnt_dofadr[j]]) for j in joints}


def _in_order(tree: Tree, joints: list[int]) -> tuple[int, ...]:
    """Joints in the order of their actuators; those without one after them, as in the model."""
    last = tree.model.nu
    return tuple(sorted(joints, key=lambda j: (min(tree.actuators.get(j, (last,))), j)))


def _is_hinge(tree: Tree, joint: int) -> bool:
    return bool(tree.model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_HINGE)


def _rounded(value: float) -> float:
    """Two significant digits."""
    return float(f"{value:.2g}")


def _name(model: mujoco.MjModel, path: Path) -> str:
    """A name for the robot, of letters, digits and underscores: the model's, else the file's."""
    told = bytes(model.names).split(b"\0", 1)[0].decode()
    words = told if told and told != "MuJoCo Model" else path.stem
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_") or "robot"


def _find_imu(tree: Tree) -> tuple[str | None, Finding]:
    model = tree.model
    kinds = (mujoco.mjtSensor.mjSENS_GYRO, mujoco.mjtSensor.mjSENS_ACCELEROMETER)
    sensed = Counter(
        int(model.sensor_objid[sensor])
        for sensor in range(model.nsensor)
        if int(model.sensor_type[sensor]) in [int(kind) for kind in kinds]
        and model.site_bodyid[model.sensor_objid[sensor]] in tree.bodies
    )
    if sensed:
        site = sensed.most_common(1)[0][0]
        where = tree.body_name(int(model.site_bodyid[site]))
        text = f"site {model.site(site).name!r} on {where}, which gyro or accelerometer read"
        if len(sensed) == 1 and model.site(site).name:
            return model.site(site).name, Finding("imu", "sure", text)
        if model.site(site).name:
            return model.site(site).name, Finding(
                "imu", "likely", f"{text}, as they do {len(sensed) - 1} other sites"
            )
    named = [
        site.name
        for site in map(model.site, range(model.nsite))
        if "imu" in site.name.lower() and site.bodyid[0] in tree.bodies
    ]
    if named:
        return named[0], Finding("imu", "likely", f"site {named[0]!r}, by its name alone")
    text = "no site of an IMU; taken at the root's origin, give `imu: {body, pos}` where it is"
    return None, Finding("imu", "guess", text)


def _find_home(tree: Tree, stander: Stander) -> tuple[Stance | None, str, list[Finding]]:
    """A pose to stand in, where it is from, and what is to be said of it."""
    model = tree.model
    findings = []
    keys = sorted(range(model.nkey), key=lambda key: _home_rank(model.key(key).name))
    for key in keys:
        name = model.key(key).name or str(key)
        angles = {
            j: float(model.key_qpos[key][tree.address(j)]) for j in tree.joints if _scalar(tree, j)
        }
        stance = stander.stance(angles)
        depth = stance.height - float(model.key_qpos[key][tree.address(_free(tree)) + 2])
        if not stance.stands:
            why = _why_not(stance)
            findings.append(Finding("home", "sure", f"keyframe {name!r} is not taken: {why}"))
            continue
        text = f"keyframe {name!r}: {_stance_words(stance)}"
        asymmetry = max(
            abs(stance.angles[p.right] - p.sign * stance.angles[p.left]) for p in stander.pairs
        )
        if asymmetry > 0.02:
            text += f"; its legs differ by {asymmetry:.3f} rad"
        named = any(word in name.lower() for word in HOME_NAMES)
        if not named and stander.cost(stance) > UNNAMED_COST:
            text = f"keyframe {name!r} is not taken: it stands near its limits"
            findings.append(Finding("home", "sure", text))
            continue
        findings.append(Finding("home", "sure", text))
        if depth > 0.01:
            text = f"keyframe {name!r} has its soles {1000 * depth:.0f} mm under the floor"
            findings.append(Finding("home", "sure", f"{text}; the root is raised"))
            return stance, f"keyframe {name}, raised", findings
        return stance, f"keyframe {name}", findings
    crouch = stander.crouch(_rest(tree, stander))
    if crouch is None:
        text = (
            "no pose was found with level soles under the centre of mass; give `home`, "
            "joint -> angle"
        )
        return None, "none", [*findings, Finding("home", "unknown", text)]
    text = f"a crouch found by search: {_stance_words(crouch)}"
    return crouch, "search", [*findings, Finding("home", "likely", text)]


def _home_rank(name: str) -> tuple[int, str]:
    """Keyframes that are more likely home come first."""
    ranks = [rank for rank, word in enumerate(HOME_NAMES) if word in name.lower()]
    return min(ranks, default=len(HOME_NAMES)), name


def _rest(tree: Tree, stander: Stander) -> dict[int, float]:
    """Angles of all joints but the legs': 0, or the stop nearest to it."""
    legs = {joint for leg in stander.legs for joint in leg.joints}
    found = {}
    for joint in tree.joints:
        if joint not in legs and tree.model.jnt_limited[joint] and _scalar(tree, joint):
            low, high = tree.model.jnt_range[joint]
            found[joint] = float(np.clip(0.0, low, high))
    return found


def _scalar(tree: Tree, joint: int) -> bool:
    return bool(tree.model.jnt_type[joint] != mujoco.mjtJoint.mjJNT_BALL)


def _free(tree: Tree) -> int:
    """The free joint of the root."""
    return int(tree.model.body_jntadr[tree.root])


def _why_not(stance: Stance) -> str:
    tips = {
        "ahead of": stance.tip_forward,
        "behind": stance.tip_back,
        "beside": stance.tip_side,
    }
    where, worst = min(tips.items(), key=lambda each: each[1])
    if stance.stop < 0.0:
        return "a joint is beyond its stop"
    if abs(stance.lean) > LEAN:
        return f"the trunk leans by {np.degrees(stance.lean):+.0f} deg when its soles are level"
    if stance.level > LEVEL:
        return f"its soles are {np.degrees(stance.level):.0f} deg off the level"
    return f"its centre of mass is {-1000 * worst:.0f} mm {where} the soles"


def _stance_words(stance: Stance) -> str:
    most = max(map(abs, stance.torque.values()), default=0.0)
    return (
        f"root {1000 * stance.height:.0f} mm over the soles, centre of mass "
        f"{1000 * stance.tip_forward:.0f} mm behind the toes and {1000 * stance.tip_back:.0f} mm "
        f"ahead of the heels, knees bent by {stance.bend:.2f} rad, at most {most:.2g} N m"
    )


def _root_findings(draft: Draft, pose: str, evidence: Iterable[Evidence]) -> list[Finding]:
    tree, frame = draft.tree, draft.frame
    joint = tree.model.joint(_free(tree)).name
    named = f"free joint {joint!r}" if joint else "its free joint has no name"
    text = f"body {tree.body_name(tree.root)!r}, {named}; {tree.mass:.4g} kg"
    found = [Finding("root", "sure", text)]
    evidence = list(evidence)
    pro = [each.reason for each in evidence if each.weight > 0.0]
    con = [each.reason for each in evidence if each.weight < 0.0]
    strong = sum(each.weight for each in evidence) >= 1.5
    words = f"forward is {_direction(frame.axes[0])} of the root, up {_direction(frame.axes[2])}"
    if pro:
        words += f": {'; '.join(pro)}"
    if con:
        words += f". Against it: {'; '.join(con)}"
    upright = "with" not in pose
    surety: Surety = "sure" if strong and not con and upright else "likely" if strong else "guess"
    if not upright:
        words += f". The MJCF does not show it standing; it was found in {pose}"
    found.append(Finding("axes", surety, words))
    if abs(frame.middle) > 1e-3:
        text = f"the mirror plane is {1000 * frame.middle:+.1f} mm to the left of the root's origin"
        found.append(Finding("axes", "likely", text))
    return found


def _direction(axis: Array) -> str:
    main = int(np.abs(axis).argmax())
    if abs(axis[main]) > 1.0 - 1e-6:
        return f"{'-' if axis[main] < 0 else '+'}{'xyz'[main]}"
    return "(" + ", ".join(f"{value:.3f}" for value in axis) + ")"


def _leg_findings(draft: Draft) -> list[Finding]:
    tree = draft.tree
    found = []
    for side, leg in zip(("left", "right"), draft.legs, strict=True):
        joints = ", ".join(
            f"{tree.joint_name(joint)} ({draft.motions[joint].kind})" for joint in leg.joints
        )
        found.append(Finding("legs", "sure", f"{side}: {joints}"))
        if leg.passive:
            names = ", ".join(map(tree.joint_name, leg.passive))
            text = f"{side}: nothing drives {names}; fixed, which a spring there is not"
            found.append(Finding("legs", "guess", text))
        if leg.beyond:
            names = ", ".join(map(tree.joint_name, leg.beyond))
            found.append(Finding("legs", "likely", f"{side}: {names} move toes beyond the foot"))
    askew = [m for m in draft.motions.values() if m.purity < 0.85 and m.kind != "knee"]
    if askew:
        names = ", ".join(f"{tree.joint_name(m.joint)} ({m.kind})" for m in askew)
        found.append(
            Finding("signs", "likely", f"axes far from the robot's own: {names}; look at them")
        )
    text = "+ flexes hip and knee, turns leg or foot inwards, points the toes down: joints moved"
    found.append(Finding("signs", "sure", text))
    return found


def _pair_findings(draft: Draft, alone: tuple[int, ...]) -> list[Finding]:
    tree = draft.tree
    found = []
    for pair in draft.pairs:
        if pair.left not in draft.motions:
            continue
        names = f"{tree.joint_name(pair.left)} and {tree.joint_name(pair.right)}"
        miss = pair.gap / draft.length
        worse = f"{1000 * pair.gap:.1f} mm and {np.degrees(pair.turn):.1f} deg"
        if miss > LARGE_GAP or pair.turn > 0.1 or pair.gap_other_sign < 2.0 * pair.gap:
            text = f"{names} are no mirror images: the other sole is missed by {worse}"
            found.append(Finding("pairs", "unknown", text))
        elif miss > SMALL_GAP or pair.turn > 0.01:
            text = f"{names}: the mirrored sole is missed by {worse}; tolerated"
            found.append(Finding("pairs", "likely", text))
        ranges = [draft.servos[joint].range for joint in (pair.left, pair.right)]
        if ranges[0] is not None and ranges[1] is not None:
            image = sorted(pair.sign * limit for limit in ranges[0])
            off = float(np.abs(np.array(image) - ranges[1]).max())
            if off > 0.02:
                text = f"{names}: the stops are no mirror images, by {off:.3f} rad"
                found.append(Finding("pairs", "likely", text))
    legs = [pair for pair in draft.pairs if pair.left in draft.motions]
    most = max(pair.gap for pair in legs)
    text = f"{len(legs)} pairs of leg joints; mirrored soles miss by {1000 * most:.2f} mm at most"
    found.append(Finding("pairs", "sure", text))
    others = [pair for pair in draft.pairs if pair.left not in draft.motions]
    if others:
        said = ", ".join(
            f"{tree.joint_name(p.left)} - {tree.joint_name(p.right)} ({p.sign:+d})"
            if p.left != p.right
            else f"{tree.joint_name(p.left)} - itself ({p.sign:+d})"
            for p in others
        )
        found.append(Finding("pairs", "likely", f"beyond the legs: {said}"))
    off = [p for p in others if p.offset > 0.01 * draft.length or p.skew > 0.1]
    if off:
        said = ", ".join(
            f"{tree.joint_name(p.left)} - {tree.joint_name(p.right)}: {1000 * p.offset:.0f} mm, "
            f"{np.degrees(p.skew):.0f} deg between one axis and the image of the other"
            for p in off
        )
        found.append(Finding("pairs", "likely", said))
    if alone:
        names = ", ".join(map(tree.joint_name, alone))
        found.append(Finding("pairs", "likely", f"without a mirror image: {names}"))
    return found


def _sole_findings(draft: Draft) -> list[Finding]:
    tree = draft.tree
    found = []
    for side, sole in zip(("left", "right"), draft.soles, strict=True):
        text = (
            f"{side}: on {tree.body_name(sole.body)!r}, heel {-1000 * sole.heel:.0f} mm behind and "
            f"toe {1000 * sole.toe:.0f} mm ahead of the ankle, {1000 * sole.width:.0f} mm wide"
        )
        surety: Surety = "sure" if sole.shape == "flat" and sole.fill > 0.8 else "likely"
        if sole.shape == "flat" and sole.fill <= 0.8:
            text += f"; what touches fills {100 * sole.fill:.0f} % of that rectangle"
        if sole.shape != "flat":
            text += f"; it touches in a {sole.shape} alone, its own radius is taken for its size"
            surety = "guess"
        if sole.tilt > np.deg2rad(2.0):
            text += f"; {np.degrees(sole.tilt):.0f} deg off the level in the zero pose"
        found.append(Finding("feet", surety, text))
    return found


def _servo_findings(draft: Draft) -> list[Finding]:
    tree, found = draft.tree, []
    by_kind: dict[str, list[int]] = {}
    for joint in draft.driven:
        by_kind.setdefault(draft.servos[joint].kind, []).append(joint)
    for kind, joints in by_kind.items():
        names = _few(tree, joints)
        if kind == "position":
            kps = sorted({round(draft.servos[j].kp or 0.0, 3) for j in joints})
            said = f"{kps[0]:g}" if len(kps) == 1 else f"{kps[0]:g} to {kps[-1]:g}"
            text = f"{len(joints)} position servos in the legs, kp {said} N m/rad"
            found.append(Finding("servos", "sure", text))
        else:
            what = {
                "motor": "motors, which take a torque",
                "velocity": "velocity servos",
                "other": "actuators of another law",
                "several": "joints with several actuators",
                "none": "joints without actuator",
            }[kind]
            kps = sorted({gains[0] for gains in map(draft.gains, joints) if gains is not None})
            said = f"{kps[0]:g}" if len(kps) == 1 else f"{kps[0]:g} to {kps[-1]:g}"
            text = (
                f"{len(joints)} {what}, no position servos: {names}; kp {said} N m/rad and kv are "
                "guesses from weight, leg length and inertia"
            )
            found.append(Finding("servos", "guess", text))
    weak = [joint for joint in draft.driven if draft.servos[joint].torque is None]
    if weak:
        text = (
            f"no torque limit in the MJCF: {_few(tree, weak)}; {draft.torque(weak[0]):g} N m is a "
            "guess from weight and leg length, replace it by the servo's"
        )
        found.append(Finding("servos", "guess", text))
    loose = [joint for joint in draft.driven if draft.servos[joint].range is None]
    if loose:
        text = f"no stops in the MJCF: {_few(tree, loose)}; +-1.57 rad is a guess"
        found.append(Finding("servos", "guess", text))
    text = (
        f"no MJCF says how fast a servo is: max_velocity {draft.speed():g} rad/s is a guess, put "
        "the data sheet's there"
    )
    found.append(Finding("servos", "guess", text))
    return found


def _other_findings(draft: Draft) -> list[Finding]:
    tree, model, found = draft.tree, draft.tree.model, []
    if draft.held:
        text = f"{len(draft.held)} further joints stay at home by their servo: "
        found.append(Finding("held", "likely", text + _few(tree, draft.held)))
    if draft.fixed:
        text = f"{len(draft.fixed)} joints without a position servo are taken out, at home: "
        found.append(Finding("fixed", "likely", text + _few(tree, draft.fixed)))
    if model.ntendon:
        text = f"{model.ntendon} tendons are taken out, and with them limits that join joints"
        found.append(Finding("model", "likely", text))
    counts = {"neq": "equality constraints", "nflex": "flexible bodies"}
    for field, what in counts.items():
        if number := getattr(model, field):
            text = f"{number} {what}: not supported, take them out or replace them by joints"
            found.append(Finding("model", "unknown", text))
    return found


def _few(tree: Tree, joints: Iterable[int]) -> str:
    """Names of joints; of many the first five."""
    names = [tree.joint_name(joint) for joint in joints]
    return ", ".join(names) if len(names) <= 6 else ", ".join(names[:5]) + f", ... ({len(names)})"
