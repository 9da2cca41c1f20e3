"""Checks that robot.yaml and the compiled model describe the same robot."""

from __future__ import annotations

import mujoco
import numpy as np

from envs.robot.description import FILE_NAME, RobotDescription, RobotDescriptionError
from envs.robot.legs import joints_above

MASS_TOLERANCE = 1e-6  # [kg]
RANGE_TOLERANCE = 1e-5  # [rad]
TORQUE_TOLERANCE = 1e-6  # [N m]
LENGTH_TOLERANCE = 1e-6  # [m]
HOME_HEIGHT = (-0.002, 0.02)
"""Heights above the ground that the soles may have at keyframe `home` [m]."""
NEAR_SOLE = 0.02
"""A stranger's sole touches the floor where it is this near to it, as a share of the leg."""
SOLE_TILT, TOE_OUT = np.radians(15.0), np.radians(45.0)
"""How far a stranger's soles may be from level, and turned outwards, at home [rad]."""
AXIS_TOLERANCE = np.radians(10.0)
"""How far the axes of two joints may be from mirror images [rad]."""
MIRROR_SHARE = 0.05
"""How far the mirror image of a stranger's foot may miss the other foot, as a share of the leg."""

IMU_SITE, ROOT_SITE = "imu", "root"
"""Sites on the root body: at the IMU, and at the body's origin."""

_NEEDED = ("CONSTRAINT", "LIMIT", "CONTACT", "GRAVITY", "ACTUATION", "SENSOR")
"""Parts of the physics that the model must not switch off."""

_UNSUPPORTED = {
    "neq": "equality constraints",
    "ntendon": "tendons",
    "nflex": "flexible bodies",
    "nplugin": "plugins",
}
"""Parts that neither the digest nor the parity of the engines covers, by their count."""

_CONTACT_DATA = ("found", "force", "torque", "dist", "pos", "normal", "tangent")
_CONTACT_REDUCE = ("none", "mindist", "maxforce", "netforce")

_SERVO = {
    "trntype": (mujoco.mjtTrn.mjTRN_JOINT, "a servo at a joint"),
    "gear": ((1, 0, 0, 0, 0, 0), "a servo without gear: give kp, kv and forcerange at the joint"),
    "dyntype": (mujoco.mjtDyn.mjDYN_NONE, "a servo without time constant or filter"),
    "delay": (0, "a servo without delay"),
    "gaintype": (mujoco.mjtGain.mjGAIN_FIXED, "a position servo"),
    "biastype": (mujoco.mjtBias.mjBIAS_AFFINE, "a position servo"),
    "damping": (0, "a servo whose damping is its kv alone"),
    "armature": (0, "a servo without armature: give it at the joint"),
    "forcelimited": (1, "a servo with a limited force"),
}
"""Field of each actuator -> the value it must have, and what that means."""


def check_consistency(description: RobotDescription, model: mujoco.MjModel) -> None:
    """Refuse a compiled model that is not the robot described.

    Raises:
        RobotDescriptionError: the first contradiction found.
    """
    _check_physics(model)
    _check_bodies(description, model)
    _check_joints(description, model)
    _check_plates(description, model)
    _check_sensors(description, model)
    _check_mirror(description, model)
    _check_home(description, model)


def zero_pose(model: mujoco.MjModel) -> mujoco.MjData:
    """The robot with all joints at 0 and its root at the origin; positions only."""
    data = mujoco.MjData(model)
    data.qpos[:] = 0.0
    data.qpos[3] = 1.0
    mujoco.mj_kinematics(model, data)
    return data


Object = tuple[str, str]
"""Kind and name of an object of MuJoCo."""


def sensor_words(description: RobotDescription) -> dict[str, tuple[str, Object, Object | None]]:
    """Sensors that measurements are made from -> their kind, what they are of and relative to."""
    imu, root = ("site", IMU_SITE), ("site", ROOT_SITE)
    words: dict[str, tuple[str, Object, Object | None]] = {
        "imu_gyro": ("gyro", imu, None),
        "imu_accel": ("accelerometer", imu, None),
        "imu_quat": ("framequat", imu, None),
        "root_linvel_b": ("velocimeter", root, None),
        "com_pos": ("subtreecom", ("body", description.root.body), None),
    }
    floor = ("geom", "floor")
    if description.plates is None:  # all that collides of a foot and of what hangs on it
        for name, foot in description.feet.items():
            words[f"{name}_contact"] = ("contact", floor, ("xbody", foot.body))
    for plate in description.plates or ():
        words[f"{plate}_contact"] = ("contact", floor, ("geom", plate))
    for name, foot in description.feet.items():
        for value in ("pos", "quat", "linvel", "angvel"):
            words[f"{name}_{value}"] = (f"frame{value}", ("site", str(foot.site)), None)
    for joint in description.joints:
        words[f"{joint}_torque"] = ("actuatorfrc", ("actuator", joint), None)
    return words


def sensor_readings(description: RobotDescription) -> dict[str, str]:
    """Sensors that measurements are made from -> what each must read (see `sensor_reading`)."""
    readings = {}
    for name, (kind, of, ref) in sensor_words(description).items():
        objects = [" ".join(each) for each in (of, ref) if each is not None]
        text = f"{kind} of {' and '.join(sorted(objects))}"
        if kind == "contact":
            text += ", data found force, reduce netforce, num 1"
        readings[name] = text
    return readings


def sensor_reading(model: mujoco.MjModel, sensor: int) -> str:
    """What a sensor of the model reads, for example "gyro of site imu".

    A cutoff, a delay and the like are appended where they are set.
    """
    kind = mujoco.mjtSensor(model.sensor_type[sensor])
    objects = []
    for what in ("obj", "ref"):
        of = mujoco.mjtObj(getattr(model, f"sensor_{what}type")[sensor])
        if of != mujoco.mjtObj.mjOBJ_UNKNOWN:
            index = getattr(model, f"sensor_{what}id")[sensor]
            objects.append(f"{_word(of)} {mujoco.mj_id2name(model, of, index)}")
    words = f"{_word(kind)} of {' relative to '.join(objects)}"
    if kind == mujoco.mjtSensor.mjSENS_CONTACT:
        # The order of the two objects changes the sign of the force, which nothing reads.
        data, reduce, number = model.sensor_intprm[sensor]
        parts = [part for bit, part in enumerate(_CONTACT_DATA) if data >> bit & 1]
        words = (
            f"{_word(kind)} of {' and '.join(sorted(objects))}, data {' '.join(parts)}, "
            f"reduce {_CONTACT_REDUCE[reduce]}, num {number}"
        )
    for field in ("cutoff", "delay", "interval", "history"):
        value = np.atleast_1d(getattr(model, f"sensor_{field}")[sensor])
        if value.any():
            words += f", {field} {' '.join(f'{number:g}' for number in value)}"
    return words


def _check_physics(model: mujoco.MjModel) -> None:
    option = model.opt
    dense = option.jacobian == mujoco.mjtJacobian.mjJAC_DENSE or (
        option.jacobian == mujoco.mjtJacobian.mjJAC_AUTO and model.nv < 60
    )
    _require(
        dense or mujoco.__version__ != "4.0.0",
        f"the model (nv {model.nv}) uses sparse Jacobians, with which mujoco 4.0.0 computes a "
        'wrong Newton Hessian; set <option jacobian="dense"/>',
    )
    x, y, z = option.gravity
    _require(
        x == y == 0.0 and z < 0.0,
        f"gravity is {x:g} {y:g} {z:g} m/s^2; it must point down, as 0 0 -9.81 does",
    )
    for name in _NEEDED:
        flag = getattr(mujoco.mjtDisableBit, f"mjDSBL_{name}")
        _require(
            not option.disableflags & flag,
            f'<option> has the flag {name.lower()}="disable"; remove it',
        )
    _require(not option.disableactuator, "<option> has actuatorgroupdisable; remove it")
    for count, what in _UNSUPPORTED.items():
        number = getattr(model, count)
        _require(not number, f"the compiled model has {number} {what}; a robot here has none")


def _check_bodies(description: RobotDescription, model: mujoco.MjModel) -> None:
    body, name = description.root.body, description.root.joint
    root = _id(model, mujoco.mjtObj.mjOBJ_BODY, "root.body", body)
    joint = _id(model, mujoco.mjtObj.mjOBJ_JOINT, "root.joint", str(name))
    _require(
        model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE and model.jnt_bodyid[joint] == root,
        f"root.joint {name!r} is not the free joint of body {body!r}",
    )
    _require(model.jnt_qposadr[joint] == 0, f"root.joint {name!r} is not first in qpos")
    mass = float(model.body_mass.sum())
    _require(
        description.mass is not None and abs(mass - description.mass) <= MASS_TOLERANCE,
        f"mass is {description.mass} kg in {FILE_NAME} and {mass:.7f} kg in the compiled model",
    )
    axes = zero_pose(model).site_xmat.reshape(-1, 3, 3)
    for name, foot in description.feet.items():
        _id(model, mujoco.mjtObj.mjOBJ_BODY, f"feet.{name}.body", foot.body)
        site = _id(model, mujoco.mjtObj.mjOBJ_SITE, f"feet.{name}.site", str(foot.site))
        _require_on(model, "site", site, foot.body, f"feet.{name}.site")
        _require(
            description.model is not None
            or np.abs(axes[site] - np.eye(3)).max() <= RANGE_TOLERANCE,
            f"feet.{name}.site {foot.site!r} is turned against the world at the zero pose; its "
            "axes must be x forward, y left, z up",
        )


def _check_joints(description: RobotDescription, model: mujoco.MjModel) -> None:
    order = [model.actuator(index).name for index in range(model.nactuator)]
    stranger = description.model is not None
    for name, joint in description.joints.items():
        assert joint.range is not None and joint.max_torque is not None
        index = _id(model, mujoco.mjtObj.mjOBJ_JOINT, "joints", name)
        _require(
            model.jnt_type[index] == mujoco.mjtJoint.mjJNT_HINGE and model.jnt_limited[index],
            f"joint {name!r} is no hinge with a limited range",
        )
        low, high = (float(limit) for limit in model.jnt_range[index])
        beyond = max(low - joint.range[0], joint.range[1] - high)
        if not stranger:  # a stranger's servo may be told less than the stops allow
            beyond = max(abs(low - joint.range[0]), abs(high - joint.range[1]))
        _require(
            beyond <= RANGE_TOLERANCE,
            f"joints.{name}.range is {list(joint.range)} rad in {FILE_NAME} and "
            f"[{low:.6f}, {high:.6f}] rad in the compiled model",
        )
        _require(name in order, f"joints: {name!r} has no actuator of that name")
        _check_servo(name, joint.max_torque, index, order.index(name), model)
    for name in (model.joint(index).name for index in range(model.njnt)):
        _require(
            name in (description.root.joint, *description.joints, *description.held),
            f"joints: the compiled model's joint {name!r} is missing",
        )
    _require(
        order == [*description.joints, *description.held],
        f"joints must be in the order of the actuators; the compiled model has {', '.join(order)}",
    )


def _check_servo(
    name: str, max_torque: float, joint: int, actuator: int, model: mujoco.MjModel
) -> None:
    """Refuse an actuator unless torque = clip(kp (ctrl - q) - kv qd, -max_torque, max_torque)."""
    for field, (needed, meaning) in _SERVO.items():
        value = getattr(model, f"actuator_{field}")[actuator]
        _require(
            np.array_equal(value, needed),
            f"actuator {name!r} has {field} {value}; allowed: {meaning}",
        )
    _require(
        model.actuator_trnid[actuator, 0] == joint,
        f"actuator {name!r} does not drive the joint {name!r}",
    )
    kp, (constant, position, velocity) = (
        model.actuator_gainprm[actuator, 0],
        model.actuator_biasprm[actuator, :3],
    )
    _require(
        kp > 0.0 and constant == 0.0 and position == -kp and velocity <= 0.0,
        f"actuator {name!r} is no position servo: its force is {kp:g} ctrl {constant:+g} "
        f"{position:+g} q {velocity:+g} qd",
    )
    limits = {"forcerange of the actuator": model.actuator_forcerange[actuator]}
    if model.jnt_actfrclimited[joint]:
        limits["actuatorfrcrange of the joint"] = model.jnt_actfrcrange[joint]
    for what, (low, high) in limits.items():
        _require(
            max(abs(low + max_torque), abs(high - max_torque)) <= TORQUE_TOLERANCE,
            f"joints.{name}.max_torque is {max_torque:g} N m in {FILE_NAME}, and the {what} is "
            f"[{low:g}, {high:g}] N m in the compiled model",
        )


def _check_plates(description: RobotDescription, model: mujoco.MjModel) -> None:
    plates = {} if description.model is not None else description.plates or {}
    for plate, foot in plates.items():
        geom = _id(model, mujoco.mjtObj.mjOBJ_GEOM, "plates", plate)
        _require_on(model, "geom", geom, description.feet[foot].body, "plates")
        _require(
            model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_BOX and model.geom_contype[geom] != 0,
            f"plates.{plate} is no box that collides",
        )
    _id(model, mujoco.mjtObj.mjOBJ_GEOM, "the scene's floor", "floor")


def _check_sensors(description: RobotDescription, model: mujoco.MjModel) -> None:
    root = description.root.body
    for name in (IMU_SITE, ROOT_SITE) if description.model is None else ():
        site = _id(model, mujoco.mjtObj.mjOBJ_SITE, "sensors", name)
        _require_on(model, "site", site, root, "sensors")
        _require(
            np.abs(model.site_quat[site] - (1, 0, 0, 0)).max() <= RANGE_TOLERANCE,
            f"site {name!r} must have the axes of body {root!r}",
        )
    _require(
        not model.site(ROOT_SITE).pos.any(),
        f"site {ROOT_SITE!r} must lie at the origin of {root!r}",
    )
    for name, needed in sensor_readings(description).items():
        reading = sensor_reading(model, _id(model, mujoco.mjtObj.mjOBJ_SENSOR, "sensors", name))
        _require(reading == needed, f"sensor {name!r} reads {reading}; it must read {needed}")


def _check_mirror(description: RobotDescription, model: mujoco.MjModel) -> None:
    """Refuse a mirror map under which the mirrored pose does not have mirrored feet."""
    left, right = (model.site(foot.site).id for foot in description.feet.values())
    allowed, zero = LENGTH_TOLERANCE, zero_pose(model)
    if description.model is not None:
        apart = zero.site_xpos[left, 1] - zero.site_xpos[right, 1]
        _require(
            apart > 0.0,
            f"left_foot is {-1000 * apart:.0f} mm to the right of right_foot at the zero pose; "
            "swap feet, or see root.forward",
        )
        _check_pairs(description, model, zero)
        image = zero.site_xpos[left] * (1, -1, 1)
        allowed = np.abs(image - zero.site_xpos[right]).max()
        hip = zero.xanchor[joints_above(model, int(model.site_bodyid[left]))].max(0)
        allowed += MIRROR_SHARE * abs(hip[2] - zero.site_xpos[left, 2])
    for name, joint in description.joints.items():  # one at a time, so that the message can name it
        assert joint.range is not None
        data, mirrored = zero_pose(model), zero_pose(model)
        angle = 0.75 * joint.range[0] + 0.25 * joint.range[1]
        data.joint(name).qpos = angle
        mirrored.joint(joint.mirror).qpos = joint.mirror_sign * angle
        mujoco.mj_kinematics(model, data)
        mujoco.mj_kinematics(model, mirrored)
        image = data.site_xpos[[left, right]] * (1, -1, 1)
        gap = np.abs(image - mirrored.site_xpos[[right, left]]).max()
        _require(
            gap <= allowed,
            f"mirror map contradicts the kinematics: the mirror image of {name} misses the other "
            f"foot by {1000 * gap:.3f} mm; check mirror and mirror_sign",
        )


def _check_pairs(description: RobotDescription, model: mujoco.MjModel, zero: mujoco.MjData) -> None:
    """Refuse two joints whose axes are no mirror images, or that are at other places of the tree.

    A mirror turns a rotation about the axis (x, y, z) into one about (-x, y, -z).
    """
    for name, joint in description.joints.items():
        one, other = (model.joint(each).id for each in (name, joint.mirror))
        wanted = joint.mirror_sign * zero.xaxis[other] * (-1, 1, -1)
        angle = float(np.arccos(np.clip(wanted @ zero.xaxis[one], -1.0, 1.0)))
        what = "itself" if one == other else joint.mirror
        _require(
            angle <= AXIS_TOLERANCE,
            f"mirror map contradicts the kinematics: with mirror_sign {joint.mirror_sign:+d} the "
            f"axis of {name} is {np.degrees(angle):.0f} deg off the mirror image of {what}; check "
            "mirror, mirror_sign and root.forward",
        )
        depths = [len(joints_above(model, int(model.jnt_bodyid[each]))) for each in (one, other)]
        _require(
            depths[0] == depths[1],
            f"mirror map contradicts the kinematics: {name} is joint {depths[0] - 1} from the root "
            f"and {joint.mirror} is joint {depths[1] - 1}; check mirror",
        )


def _check_home(description: RobotDescription, model: mujoco.MjModel) -> None:
    data = mujoco.MjData(model)
    data.qpos[:] = model.key_qpos[_id(model, mujoco.mjtObj.mjOBJ_KEY, "keyframe", "home")]
    for name in description.joints:
        angle, (low, high) = data.joint(name).qpos[0], model.joint(name).range
        _require(
            low <= angle <= high,
            f"keyframe 'home' puts {name} at {angle:.6f} rad, outside its range "
            f"[{low:.6f}, {high:.6f}] rad",
        )
    mujoco.mj_kinematics(model, data)
    if description.model is not None:
        _check_soles(description, data)
    soles = {name: data.site(foot.site).xpos.copy() for name, foot in description.feet.items()}
    data.qpos[2] += 1000.0  # the robot out of the way of rays to the ground
    mujoco.mj_kinematics(model, data)
    lowest, highest = HOME_HEIGHT
    for name, (x, y, z) in soles.items():
        above, down, hit = (
            np.array([x, y, 100.0]),
            np.array([0.0, 0.0, -1.0]),
            np.zeros(1, np.int32),
        )
        distance = mujoco.mj_ray(model, data, above, down, None, 1, -1, hit)
        height = z - (100.0 - distance) if distance >= 0.0 else float("inf")
        _require(
            lowest <= height <= highest,
            f"keyframe 'home' puts the sole of {name} {1000 * height:+.1f} mm above the ground; "
            f"allowed: {1000 * lowest:g} to {1000 * highest:g} mm",
        )


def _check_soles(description: RobotDescription, data: mujoco.MjData) -> None:
    """Refuse soles that are not level at home, or look elsewhere than the robot."""
    root = data.body(description.root.body).xmat.reshape(3, 3)
    for name, foot in description.feet.items():
        axes = data.site(str(foot.site)).xmat.reshape(3, 3)
        tilt = float(np.arccos(np.clip(axes[2, 2], -1.0, 1.0)))
        _require(
            tilt <= SOLE_TILT,
            f"feet.{name}: the sole's z axis is {np.degrees(tilt):.0f} deg off the vertical at "
            f"home; allowed: {np.degrees(SOLE_TILT):.0f} deg; turn the sole, or level it by home",
        )
        ahead = axes[:2, 0] @ root[:2, :2] / max(float(np.linalg.norm(axes[:2, 0])), 1e-9)
        turned = float(abs(np.arctan2(ahead[1], ahead[0])))
        _require(
            turned <= TOE_OUT,
            f"feet.{name}: the sole's x axis is {np.degrees(turned):.0f} deg off where the robot "
            f"looks at home; allowed: {np.degrees(TOE_OUT):.0f} deg; turn the sole, or see "
            "root.forward",
        )


def _require(condition: object, message: str) -> None:
    if not condition:
        raise RobotDescriptionError(message)


def _require_on(model: mujoco.MjModel, kind: str, index: int, body: str, where: str) -> None:
    """Refuse a site or geom that is on another body."""
    name = getattr(model, kind)(index).name
    on = model.body(getattr(model, f"{kind}_bodyid")[index]).name
    _require(on == body, f"{where}: {kind} {name!r} is on body {on!r}, not on {body!r}")


def _id(model: mujoco.MjModel, kind: mujoco.mjtObj, where: str, name: str) -> int:
    """Id of the object `name`; if it is absent, refused with the names of its kind."""
    index = mujoco.mj_name2id(model, kind, name)
    if index < 0:
        word = _word(kind)
        count = getattr(model, "njnt" if word == "joint" else f"n{word}")
        names = [mujoco.mj_id2name(model, kind, each) for each in range(count)]
        raise RobotDescriptionError(
            f"{where}: the compiled model has no {word} {name!r}; it has "
            f"{', '.join(each for each in names if each) or 'none'}"
        )
    return index


def _word(member: mujoco.mjtObj | mujoco.mjtSensor) -> str:
    """Name of an enumeration's member as MJCF has it: `site` for mjOBJ_SITE."""
    return member.name.split("_", 1)[1].lower()
