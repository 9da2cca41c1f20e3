"""A run put together: robot, safety layer, policies, commands, clock and log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from envs.errors import UserError
from wildrobot_torch.deploy.runtime import selftest
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.commands import Commands, Source
from wildrobot_torch.deploy.runtime.hardware import Hardware
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.log import LogWriter, tick_layout
from wildrobot_torch.deploy.runtime.loop import Runtime
from wildrobot_torch.deploy.runtime.pilot import Pilot, Policy
from wildrobot_torch.deploy.runtime.replay import calibration_entry, policy_entry
from wildrobot_torch.deploy.runtime.safety import SafeRobot
from wildrobot_torch.deploy.runtime.scheduler import Scheduler


@contextmanager
def opened(
    hardware: Hardware,
    calibration: Calibration,
    limits: SafetyLimits,
    walking: Policy,
    standing: Policy | None,
    source: Source,
    log: Path,
    say: Callable[[str], None],
    name: str = "robot",
) -> Iterator[Runtime]:
    """A runtime that is ready to `run`; nothing moves before. Its log is closed afterwards.

    Time is the hardware's: its `clock`, and its `sleep` where it has one, as a simulated robot.

    Args:
        hardware: the robot; the caller releases and closes it.
        calibration: of it.
        limits: of the safety layer.
        walking: the policy.
        standing: drives before and after walks; None for the walking policy at a command of 0.
        source: of commands.
        log: file to write, which must not exist.
        say: gets one line for each thing that happens.
        name: of the robot, for the log.

    Raises:
        SelfTestError: signals do not mean what the policy was trained with.
        UserError: these do not fit together, or the log cannot be written.
    """
    contract = walking.contract
    described = getattr(hardware, "description", None)
    selftest.require(
        selftest.self_test(calibration, contract, hardware.joint_names, described=described)
    )
    if contract.commands is None:
        raise UserError(
            f"{walking.path} does not say which commands it was trained with; export it again"
        )
    policies = {"walking": walking} | ({} if standing is None else {"standing": standing})
    pilot = Pilot(walking, standing)
    robot = SafeRobot(hardware, calibration, contract, limits)
    header = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "contract": contract.digest,
        "robot": contract.robot,
        "ctrl_dt": contract.ctrl_dt,
        "joint_names": contract.joint_names,
        "hardware": {"robot": name, "joint_names": hardware.joint_names},
        "policies": {name: policy_entry(policy) for name, policy in policies.items()},
        "calibration": calibration_entry(calibration),
        "safety": vars(limits),
    }
    size = max(policy.contract.size for policy in policies.values())
    layout = tick_layout(len(contract.joint_names), len(calibration.plates), size)
    writer = LogWriter(log, header, layout)
    try:
        sleep = getattr(hardware, "sleep", time.sleep)
        scheduler = Scheduler(contract.ctrl_dt, hardware.clock, sleep)
        commands = Commands(source, contract.commands)
        yield Runtime(robot, pilot, commands, scheduler, writer, say)
    finally:
        writer.close()
