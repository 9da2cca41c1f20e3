"""wildrobot_torch.deploy.resimulate: a run's targets on the simulated robot again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.errors import UserError
from wildrobot_torch.cli.main import main as wildrobot
from wildrobot_torch.deploy.resimulate import resimulate
from wildrobot_torch.deploy.runtime.calibration import Calibration
from wildrobot_torch.deploy.runtime.commands import Held
from wildrobot_torch.deploy.runtime.limits import SafetyLimits
from wildrobot_torch.deploy.runtime.log import read_log
from wildrobot_torch.deploy.runtime.pilot import load_policy
from wildrobot_torch.deploy.runtime.remote import RemoteRobot
from wildrobot_torch.deploy.runtime.session import opened
from wildrobot_torch.files import WALKING_POLICY

QUIET = dict.fromkeys(("joint_lost", "imu_stale", "orientation_noise", "gyro_noise", "gyro_bias",
                       "heading_drift", "switch_drop"), 0.0)  # fmt: skip


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a walk on a simulated robot without noise, in a process of its own."""
    policy, path = load_policy(WALKING_POLICY), tmp_path_factory.mktemp("log") / "a.wrlog"
    with RemoteRobot.start(QUIET, lockstep=True) as robot:
        calibration = Calibration.identity(policy.contract.joint_names, robot.description["plates"])
        with opened(robot, calibration, SafetyLimits.load(), policy, None,
                    Held((0.3, 0.0, 0.0)), path, lambda _: None) as runtime:  # fmt: skip
            assert runtime.run(4.0).code == 0
        assert robot.truth().qpos[0] > 0.5  # it walked
    return path


def test_the_same_targets_move_the_simulated_robot_as_they_did(log: Path) -> None:
    found = resimulate(read_log(log))
    assert found.seconds > 8.0
    # The same physics; targets are sent at most one physics step (2 ms) apart.
    assert np.degrees(np.sqrt((found.joints**2).mean())) < 2.0
    assert found.tilts[:, 1].max() < np.radians(20.0)


def test_the_verb_prints_both(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wildrobot(["replay", str(log), "--simulate"]) == 0
    printed = capsys.readouterr().out
    assert "the same, bit for bit" in printed
    assert "left_knee_pitch" in printed and "largest tilt" in printed


def test_a_log_in_which_nothing_moved_is_refused(log: Path) -> None:
    found = read_log(log)
    still = type(found)(found.header, found.ticks[:2], found.reasons, found.events, found.cut)
    with pytest.raises(UserError, match="nothing was sent"):
        resimulate(still)
