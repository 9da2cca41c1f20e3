"""Each randomisation term changes something, for the robots that have it, and from the default.

Tests are over `TERMS`, so that a new term is covered by itself.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

import mujoco
import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.ground import TILE, make_patches
from envs.locomotion import LocomotionEnv
from envs.reality.faults import FaultConfig
from envs.reality.lint import SERVO_FIELDS, idle_in_model, require_effects
from envs.reality.randomization import TERMS, Draw, RandomizationConfig, Term
from envs.reality.servo import ServoConfig
from envs.robot.model import RobotModel
from envs.task.actions import ActionConfig
from envs.task.commands import CommandConfig
from envs.task.observations import ObservationConfig
from envs.task.starts import ResetConfig
from tests.tasks import SIMULATOR, ideal_task

ROBOTS, PLAIN, STEPS = 18, 2, 30
"""The first `PLAIN` robots have no term."""
READ = ("imu", "gyro", "gravity", "heading", "encoder", "switch")
IN_MODEL = [name for name, term in TERMS.items() if term.model_fields]
OTHER_DRAWS = ("joint_period", "switch_open", "patch_friction")
ALIKE = [name for name, term in TERMS.items()
         if term.acts == "episode" and name not in OTHER_DRAWS]  # fmt: skip
"""Terms with which all episodes are alike; with the others they draw further random numbers."""
ENGINES = ["native", "warp-cpu"]


def extreme(name: str) -> float:
    """That end of the term's typical range which is further from changing nothing."""
    term = TERMS[name]
    return max(term.typical.bounds(term.neutral), key=lambda x: abs(x - term.neutral))


def task(terms: dict[str, Draw], **settings: object) -> LocomotionConfig:
    """Real servos and all sensors; robots start at home without noise, and no episode ends."""
    return LocomotionConfig(
        action=ActionConfig(filter=0.0),
        reset=ResetConfig(joint_noise=0.0, velocity_noise=0.0),
        observation=ObservationConfig(profile="switches"),
        randomization=RandomizationConfig(**terms),
        **{"auto_reset": False, **settings},
    )


def make(terms: dict[str, float], num: int = ROBOTS, engine: str = "native") -> LocomotionEnv:
    """An environment whose terms have one value each."""
    draws = {name: Draw(low=value, high=value) for name, value in terms.items()}
    env = LocomotionEnv(task(draws), num, physics=engine, num_threads=1)
    env.set_commands(torch.full((num,), 0.2))
    return env


def reset(env: LocomotionEnv, robots: slice, width: float = 1.0) -> None:
    """Begin an episode of some robots; at width 0 their terms change nothing."""
    env.reality.widths.fill_(width)
    mask = torch.zeros(env.num_envs, 1, dtype=torch.bool)
    mask[robots] = True
    env.reset(TensorDict({"_reset": mask}, batch_size=[env.num_envs]))


@dataclass(frozen=True)
class Motion:
    """What robots do in an open loop that swings their legs: first a step, then at random."""

    state: Tensor
    """(STEPS, E, nq + nv)."""
    readings: Tensor
    """(STEPS, E, O): what their policy observes."""

    @classmethod
    def of(cls, env: LocomotionEnv) -> Motion:
        generator, states, readings = torch.Generator().manual_seed(5), [], []
        for _ in range(STEPS):
            action = (0.8 * torch.randn(8, generator=generator)).clamp(-1.0, 1.0)
            action = TensorDict({"action": action.expand(env.num_envs, 8)}, [env.num_envs])
            readings.append(env.step(action)["next", "observation"])
            now = env.backend.state().clone()
            states.append(torch.cat([now.qpos, now.qvel], dim=-1))
        return cls(torch.stack(states), torch.stack(readings))

    def differs(self, other: Motion, robots: slice) -> tuple[float, float]:
        """Largest difference of these robots' states and of their readings."""
        pairs = ((self.state, other.state), (self.readings, other.readings))
        state, readings = (float((a - b)[:, robots].abs().max()) for a, b in pairs)
        return state, readings


@cache
def plain_motion() -> Motion:
    """Of robots in an environment without terms."""
    env = make({})
    env.reset()
    return Motion.of(env)


@pytest.mark.parametrize("name", TERMS)
def test_a_term_changes_the_robots_that_have_it_and_no_others(name: str) -> None:
    env = make({name: extreme(name)})
    reset(env, slice(None), width=0.0)
    reset(env, slice(PLAIN, None))
    motion = Motion.of(env)
    assert motion.differs(plain_motion(), slice(PLAIN)) == (0.0, 0.0)
    state, readings = motion.differs(plain_motion(), slice(PLAIN, None))
    if TERMS[name].reader in READ:
        assert state == 0.0, "readings move nothing in an open loop"
        assert readings > 5e-4
    else:
        assert state > 1e-3


def model_fields(env: LocomotionEnv) -> dict[str, np.ndarray]:
    """Per-robot values (E, ...) of the fields that the environment's terms change; copies."""
    names = {field for name in env.config.randomization.active()
             for field in TERMS[name].model_fields}  # fmt: skip
    return {name: per_robot(env, name) for name in names}


def per_robot(env: LocomotionEnv, name: str) -> np.ndarray:
    """Values (E, ...) of a field of the engine's model; a copy."""
    values = env.backend.expand(name)
    return values.numpy().copy() if isinstance(values, Tensor) else values.copy()


def default(env: LocomotionEnv, name: str) -> np.ndarray:
    """The compiled model's value of a field."""
    owner = env.backend.model.opt if name.startswith("opt.") else env.backend.model
    return getattr(owner, name.removeprefix("opt."))


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_gets_a_terms_fields_of_the_masked_robots(engine: str) -> None:
    """All model terms at once, each of which is then absent in turn."""
    env = make({name: extreme(name) for name in IN_MODEL}, 3, engine)
    reset(env, slice(None), width=0.0)
    reset(env, slice(1, 2))
    for name, values in model_fields(env).items():
        want = default(env, name)
        for robot in (0, 2):
            assert np.allclose(values[robot], want, rtol=1e-6, atol=0), name
            if engine == "native":
                assert (values[robot] == want).all(), name
        assert not np.allclose(values[1], want, rtol=1e-3), name


def test_the_numbers_of_the_terms_in_the_model() -> None:
    """Worked by hand for one robot; a second reset leaves the values as they are."""
    values = {
        "sole_friction": 0.4, "mass": 1.1, "payload": 0.5, "com": 0.01, "armature": 1.2,
        "damping": 2.0, "dry_friction": 3.0, "servo_damping": 1.2, "slope": 0.05,
    }  # fmt: skip
    assert {*values, "patch_friction"} == set(IN_MODEL)
    env = make(values, 1)
    model, root = env.backend.model, env.robot.root_body
    for _ in range(2):
        env.reset()
        found = {name: rows[0] for name, rows in model_fields(env).items()}
        mass = 1.1 * model.body_mass
        mass[root] += 0.5
        assert np.allclose(found["body_mass"], mass)
        assert np.allclose(found["body_inertia"], 1.1 * model.body_inertia)
        assert np.allclose(found["body_ipos"][root], model.body_ipos[root] + 0.01)
        touching = model.geom_contype | model.geom_conaffinity
        assert np.allclose(found["geom_friction"][touching != 0, 0], 0.4)
        assert np.allclose(found["dof_armature"][6:], 1.2 * model.dof_armature[6:])
        assert np.allclose(found["dof_damping"][6:], 2.0 * model.dof_damping[6:])
        assert np.allclose(found["dof_frictionloss"][6:], 3.0 * model.dof_frictionloss[6:])
        assert np.allclose(found["actuator_biasprm"][:, 2], 1.2 * model.actuator_biasprm[:, 2])
        # Both slopes lead down, so gravity pulls towards +x and +y.
        sine = np.sin(0.05)
        want = 9.81 * np.array([sine, sine, -np.sqrt(1.0 - 2.0 * sine**2)])
        assert np.allclose(found["opt.gravity"], want, rtol=1e-5)


def tiles_under(env: LocomotionEnv, *kinds: tuple[bool, bool]) -> None:
    """Put the pattern so that each robot's (left, right) foot is on a patch or beside it."""
    patches, corners = make_patches(torch.device("cpu")), []
    for left, right in kinds:
        # The tile at the left of the origin, and the one at its right, a row of the table before.
        found = (patches[1:] == left) & (patches[:-1] == right)
        row, column = found.nonzero()[0].tolist()
        corners.append([-(column + 0.5) * TILE, -(row + 1.0) * TILE])
    env.reality.state = replace(env.reality.state, patches_at=torch.tensor(corners))


FEET_ON = ((True, True), (True, False), (False, True), (False, False))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_contact_has_the_friction_of_the_floor_under_its_foot(engine: str) -> None:
    """What MuJoCo makes of the geoms' frictions at the contacts, which have the larger of two."""
    env = make({"patch_friction": 0.5, "sole_friction": 0.8}, 4, engine)
    env.reset()
    tiles_under(env, *FEET_ON)
    env.step(TensorDict({"action": torch.zeros(4, 8)}, [4]))
    for friction, on_patch in zip(per_robot(env, "geom_friction"), FEET_ON, strict=True):
        model = copy.copy(env.backend.model)
        model.geom_friction[:] = friction
        data = mujoco.MjData(model)
        data.qpos[:] = env.robot.home_qpos.double().numpy()
        mujoco.mj_forward(model, data)
        found: dict[int, set[float]] = {0: set(), 1: set()}
        for contact in data.contact[: data.ncon]:
            plate = env.robot.plate_names.index(model.geom(contact.geom2).name)
            found[int(env.robot.plate_foot[plate])].add(round(float(contact.friction[0]), 5))
        assert [found[0], found[1]] == [{0.4 if on else 0.8} for on in on_patch]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_robot_slides_on_a_patch_and_nowhere_else(engine: str) -> None:
    """On a slope whose tangent lies between the frictions of patch and floor."""
    slope, friction = 0.08, 0.03
    env = make({"patch_friction": friction, "slope": slope}, 2, engine)
    env.reset()
    tiles_under(env, (True, True), (False, False))
    start = env.measure().sole_pos_w.clone()
    home = env.joint_targets_to_action(env.robot.joint_home.expand(2, -1))
    steps = 20
    for _ in range(steps):
        env.step(TensorDict({"action": home}, [2]))
    slid = (env.measure().sole_pos_w - start)[..., :2].mean(1)
    # Both slopes are downhill. A block would slide by a t^2 / 2; the robot also tilts.
    steep = math.hypot(math.sin(slope), math.sin(slope))
    block = 0.5 * 9.81 * (steep - friction) * (steps * env.config.ctrl_dt) ** 2
    assert slid[0].norm().item() == pytest.approx(block, rel=0.3)
    assert slid[0].min() > 0.4 * slid[0].norm()
    assert slid[1].norm() < 0.003


@pytest.mark.parametrize("name", ALIKE)
def test_a_second_episode_counts_from_the_default_again(name: str) -> None:
    """Its first forces and its motion are those of the first episode."""
    env = make({name: extreme(name)}, 2)
    episodes = []
    for _ in range(2):
        critic = env.reset()["critic_observation"].clone()
        episodes.append((critic, Motion.of(env).state[:5]))
    for first, second in zip(*episodes, strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", [name for name, term in TERMS.items() if term.constants])
def test_derived_constants_follow_a_term(name: str, engine: str) -> None:
    """They are those that MuJoCo computes for a model with the robot's own values."""
    derived = ("body_subtreemass", "body_invweight0", "dof_invweight0", "actuator_acc0")
    env = make({name: extreme(name)}, 2, engine)
    reset(env, slice(None), width=0.0)
    reset(env, slice(1, 2))
    plain = env.backend.model
    for robot in range(2):
        model = copy.deepcopy(plain)
        for field, values in model_fields(env).items():
            getattr(model, field)[:] = values[robot]
        mujoco.mj_setConst(model, mujoco.MjData(model))
        for field in derived:
            found = per_robot(env, field)[robot]
            want = getattr(model, field)
            assert np.allclose(found.reshape(want.shape), want, rtol=2e-4, atol=1e-6), field
    changed = [f for f in derived if not np.allclose(getattr(model, f), getattr(plain, f), 1e-4)]
    assert changed


# Random numbers


def everything(**settings: object) -> LocomotionConfig:
    """All terms with their typical ranges, and all faults; episodes end often."""
    return task(
        {name: term.typical for name, term in TERMS.items()},
        faults=FaultConfig(
            dropout_interval_s=1.0, displacement_interval_s=1.0, burst_interval_s=1.0
        ),
        **{"auto_reset": True, "episode_length_s": 0.14, **settings},
    )


def rollout(
    env: LocomotionEnv, root: TensorDict, steps: int
) -> tuple[list[TensorDict], TensorDict]:
    """Steps with the same actions at each call, and the root after them."""
    generator, taken = torch.Generator().manual_seed(3), []
    for _ in range(steps):
        action = 2.0 * torch.rand(env.num_envs, 8, generator=generator) - 1.0
        step, root = env.step_and_maybe_reset(root.set("action", action))
        taken.append(step.clone())
    return taken, root


def unequal(first: TensorDict, second: TensorDict) -> Iterator[object]:
    for key, value in first.items(include_nested=True, leaves_only=True):
        if not torch.equal(value, second.get(key)):
            yield key


def test_draws_come_from_the_environments_generator() -> None:
    config = everything()
    first = LocomotionEnv(config, 4, seed=1)
    before = torch.get_rng_state()
    steps, _ = rollout(first, first.reset(), 10)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(123)
    second, other = (LocomotionEnv(config, 4, seed=seed) for seed in (1, 2))
    again, _ = rollout(second, second.reset(), 10)
    assert not any(list(unequal(a, b)) for a, b in zip(steps, again, strict=True))
    other.reset()
    drawn, others = (env.reality.state.drawn for env in (second, other))
    assert set(drawn) == set(TERMS)
    assert [name for name in TERMS if torch.equal(drawn[name], others[name])] == []


@pytest.mark.parametrize("engine", ENGINES)
def test_an_exact_resume_with_everything_on(engine: str) -> None:
    """Robots begin anew before and after it."""
    config = everything()
    env = LocomotionEnv(config, 4, physics=engine, seed=1)
    _, root = rollout(env, env.reset(), 10)
    saved = env.get_sim_state()
    steps, _ = rollout(env, root, 10)
    assert sum(int(step["next", "done"].sum()) for step in steps) >= 4
    other = LocomotionEnv(config, 4, physics=engine, seed=7)
    other.set_sim_state(saved)
    resumed, _ = rollout(other, other.reset(), 10)
    for first, second in zip(steps, resumed, strict=True):
        assert list(unequal(first, second)) == []


# What would change nothing


IDLE = {
    "a servo law that knows no voltage": (
        {
            "randomization": {"voltage": Draw(low=0.9, high=1.1)},
            "servo": ServoConfig(model="ideal"),
        },
        r"randomization\.voltage changes nothing: the servo model is ideal",
    ),
    "no IMU": (
        {"randomization": {"imu_age": Draw(low=0.0, high=20.0)}, "observation": SIMULATOR},
        r"randomization\.imu_age changes nothing: no reading of the IMU",
    ),
    "no gyro": (
        {
            "randomization": {"gyro_noise": Draw(low=0.0, high=0.1)},
            "observation": ObservationConfig(fields=("imu_gravity",), critic_fields=()),
        },
        r"randomization\.gyro_noise changes nothing: imu_angvel is not observed",
    ),
    "no heading to hold": (
        {
            "randomization": {"heading_drift": Draw(sd=0.003)},
            "command": CommandConfig(heading_hold=False),
        },
        r"randomization\.heading_drift changes nothing: no heading error",
    ),
    "no encoder": (
        {
            "randomization": {"joint_age": Draw(low=0.0, high=30.0)},
            "observation": ObservationConfig(fields=("imu_gravity",), critic_fields=()),
        },
        r"randomization\.joint_age changes nothing: no reading of an encoder",
    ),
    "no switch": (
        {"randomization": {"switch_open": Draw(low=0.0, high=0.1)}},
        r"randomization\.switch_open changes nothing: no foot switch",
    ),
    "a burst of no noise": (
        {"faults": FaultConfig(burst_interval_s=2.0)},
        r"faults\.burst_interval_s is 2\.0 s, but there is no noise",
    ),
}


@pytest.mark.parametrize(("settings", "message"), IDLE.values(), ids=IDLE)
def test_settings_that_change_nothing_are_refused(settings: dict, message: str) -> None:
    ranges = RandomizationConfig(**settings.get("randomization", {}))
    config = LocomotionConfig(**{**settings, "randomization": ranges})
    with pytest.raises(UserError, match=message):
        LocomotionEnv(config, 1)


@pytest.mark.parametrize("name", TERMS)
def test_a_range_that_holds_only_the_default_is_refused(name: str) -> None:
    neutral = TERMS[name].neutral
    with pytest.raises(UserError, match=rf"randomization\.{name} .* changes nothing"):
        RandomizationConfig(**{name: Draw(low=neutral, high=neutral)})


@pytest.mark.parametrize("field", SERVO_FIELDS)
def test_a_term_in_a_field_that_the_servo_writes_is_idle(
    robot_model: RobotModel, field: str
) -> None:
    term = replace(TERMS["armature"], model_fields=(field,))
    reason = idle_in_model("armature", term, (0.5, 1.5), robot_model.robot, robot_model.model)
    assert reason is not None and field in reason


def test_a_factor_on_what_the_robot_does_not_have_is_refused(robot_model: RobotModel) -> None:
    model = copy.deepcopy(robot_model.model)
    model.dof_frictionloss[:] = 0.0
    config = task({"dry_friction": Draw(low=0.5, high=2.0)})
    require_effects(config, robot_model.robot, robot_model.model)
    with pytest.raises(UserError, match=r"dry_friction changes nothing: .* dof_frictionloss"):
        require_effects(config, robot_model.robot, model)


@pytest.mark.parametrize("fault", ["dropout", "displacement"])
def test_a_fault_alone_is_enough(fault: str) -> None:
    """In a task that is ideal but for it."""
    config = ideal_task(faults=FaultConfig(**{f"{fault}_interval_s": 0.6}))
    env = LocomotionEnv(config, 8)
    rollout(env, env.reset(), 5)
    assert env.reality.state.faults is not None


BAD = [
    ("mass", Draw(low=-0.1, high=1.0), "allowed: 0.05 to inf"),
    ("sole_friction", Draw(low=0.0, high=1.0), "allowed: 0.01"),
    ("action_delay", Draw(low=0.0, high=300.0), "allowed: 0 to 200"),
    ("mass", Draw(low=1.2, high=1.1), r"is 1\.2 to 1\.1"),
    ("gyro_bias", Draw(low=0.0, high=float("nan")), "nan"),
]


@pytest.mark.parametrize(("name", "draw", "message"), BAD)
def test_ranges_that_cannot_be_are_refused(name: str, draw: Draw, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RandomizationConfig(**{name: draw})


def test_a_range_is_uniform_or_normal() -> None:
    uniform = (torch.arange(4000) + 0.5) / 4000
    flat = Draw(low=2.0, high=4.0).values(uniform, 0.0)
    assert flat.min() >= 2.0 and flat.max() <= 4.0
    assert flat.mean().item() == pytest.approx(3.0, abs=1e-3)
    bell = Draw(sd=0.5).values(uniform, 1.0)
    assert bell.mean().item() == pytest.approx(1.0, abs=1e-3)
    assert bell.std().item() == pytest.approx(0.5, rel=0.02)
    assert (bell - 1.0).abs().max() <= 1.5 + 1e-6
    share = ((bell - 1.0).abs() < 0.5).float().mean().item()
    assert share == pytest.approx(0.683, abs=0.003)
    for bad in ({}, {"low": 1.0}, {"low": 0.0, "high": 1.0, "sd": 0.1}, {"sd": -1.0}):
        with pytest.raises(UserError):
            Draw(**bad)


def test_terms_are_whole() -> None:
    for name, term in TERMS.items():
        assert isinstance(term, Term)
        low, high = term.typical.bounds(term.neutral)
        assert term.least <= low < high <= term.most, name
        assert bool(term.model_fields) == (term.reader in ("model", "floor")), name
