"""`wildrobot play`: watch a policy or a motion clip, or film it.

With a display the policy walks in MuJoCo's viewer, its velocity set by keyboard. Without one, or
with --out, a film is written: .mp4, .gif, or .png for a film strip.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import torch

from envs.config import LocomotionConfig
from envs.errors import UserError
from envs.locomotion import LocomotionEnv
from envs.reality.disturbances import PushConfig
from envs.recorder import PolicyFunction, random_policy, record, zero_policy
from envs.robot.model import load_robot
from envs.task.features import amp_layout
from envs.task.terminations import ENDS
from wildrobot_torch.files import WALKING_POLICY
from wildrobot_torch.motion.clip import clip_states
from wildrobot_torch.motion.read.files import load_clip
from wildrobot_torch.motion.series import running_mean
from wildrobot_torch.ppo.policy_file import load_policy
from wildrobot_torch.reference.dataset import ReferenceDataset
from wildrobot_torch.reference.report.playback import playback
from wildrobot_torch.render import film
from wildrobot_torch.render.film import RenderConfig, write_film
from wildrobot_torch.render.viewer import KEYS, Controls, drive, show


def main(options: argparse.Namespace) -> int:
    """0 when the window was closed or the film written."""
    if options.policy is not None and options.clip is not None:
        raise UserError(f"both {options.policy} and --clip {options.clip} are given; give one")
    if options.reference is not None and options.clip is None:
        raise UserError("--reference needs the clip to show: --clip FILE")
    display = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if display and options.out is None and options.reference is None:
        _view(options)
    else:
        print(_film(options))
    return 0


def named(options: argparse.Namespace) -> str:
    """The robot that is asked for, or the usual one."""
    return options.robot or LocomotionConfig.robot


def _open(options: argparse.Namespace, seconds: float) -> tuple[PolicyFunction, LocomotionEnv]:
    """The policy, and one robot in its task, without pushes, in episodes of `seconds`."""
    trivial = options.policy in ("zero", "random")
    loaded = None if trivial else load_policy(options.policy or WALKING_POLICY, options.robot)
    task = LocomotionConfig(robot=named(options)) if loaded is None else loaded.task
    task = replace(
        task,
        terrain=options.terrain,
        episode_length_s=seconds,
        push=PushConfig(),
        support=None,
        auto_reset=True,
    )
    env = LocomotionEnv(task, 1, physics=options.physics, num_threads=1, seed=options.seed)
    if loaded is not None:
        loaded.require(env.layouts["observation"], env.robot.digest)
        return loaded, env
    if options.policy == "zero":
        return zero_policy(env.robot.num_joints), env
    return random_policy(env.robot.num_joints, options.seed), env


def _view(options: argparse.Namespace) -> None:
    """Show the policy or clip until the window is closed."""
    if options.clip is not None:
        loaded = load_robot(named(options))
        clip = load_clip(options.clip, loaded.robot)
        positions = iter(clip_states(clip, loaded.robot)[0].double().numpy())
        show(loaded.model, loaded.robot.root_body, positions, 1.0 / clip.fps, lambda key: None)
        return
    policy, env = _open(options, 3600.0)
    controls = Controls(options.velocity)
    print(f"servo {env.servo}\n{KEYS}", flush=True)
    positions = drive(policy, env, controls)
    show(env.backend.model, env.robot.root_body, positions, env.config.ctrl_dt, controls.press)


def _film(options: argparse.Namespace) -> str:
    """Write the film; returns what to say about it."""
    path = film.check_output(options.out or Path("runs/play.gif"))
    width, _, height = options.size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UserError(f"--size is {options.size!r}; write WIDTHxHEIGHT, as in 640x480")
    config = RenderConfig(width=int(width), height=int(height), renderer=options.renderer)
    if options.reference is not None:
        return _ghost_film(options, path, config)
    if options.clip is not None:
        loaded = load_robot(named(options))
        clip = load_clip(options.clip, loaded.robot)
        qpos = clip_states(clip, loaded.robot)[0].numpy()[: round(options.seconds * clip.fps) + 1]
        captions = [f"{clip.name}\n{row / clip.fps:5.2f} s" for row in range(len(qpos))]
        write_film(path, loaded.model, qpos, 1.0 / clip.fps, config, captions)
        return f"wrote {path}: {(len(qpos) - 1) / clip.fps:.1f} s of {clip.name}"
    policy, env = _open(options, options.seconds)
    dt = env.config.ctrl_dt
    episode = record(policy, env, torch.tensor([options.velocity]), env.config.episode_steps)
    length = int(episode.valid.sum())
    qpos, velocity = episode.qpos[:length, 0].cpu().numpy(), episode.velocity[:length, 0].cpu()
    captions = [
        f"command {options.velocity:.2f} m/s\nspeed {speed:.2f} m/s"
        for speed in running_mean(velocity, round(1.0 / dt))
    ]
    write_film(path, env.backend.model, qpos, dt, config, captions)
    assert episode.end_cause is not None
    cause = ENDS[int(episode.end_cause[0])]
    end = f"fell ({cause})" if bool(episode.terminated[0]) else "upright"
    return (
        f"wrote {path}: {length * dt:.1f} s, {end}, mean speed {float(velocity.mean()):.3f} m/s at "
        f"command {options.velocity:g} m/s, servo {env.servo}"
    )


def _ghost_film(options: argparse.Namespace, path: Path, config: RenderConfig) -> str:
    """Write the film of a clip's accepted motion and the clip; returns what to say about it."""
    loaded = load_robot(named(options))
    clip = load_clip(options.clip, loaded.robot)
    layout, digest = amp_layout(loaded.robot), loaded.robot.digest
    dataset = ReferenceDataset.load(options.reference, layout, digest)
    shown = playback(dataset, clip, loaded.robot)
    number = min(len(shown.qpos), round(options.seconds / dataset.ctrl_dt) + 1)
    qpos = shown.qpos[:number].double().numpy()
    apart = film.GHOST_BESIDE if options.ghost_beside is None else options.ghost_beside
    ghost = film.beside(shown.clip[:number].double().numpy(), apart)
    write_film(path, loaded.model, qpos, dataset.ctrl_dt, config, shown.captions, ghost=ghost)
    accepted = f"{number * dataset.ctrl_dt:.1f} s accepted of {clip.name}"
    return f"wrote {path}: {accepted}, the clip itself as a ghost"
