"""`wildrobot clips`: what is in motion files, before anything is made of them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from envs.errors import UserError
from envs.robot.spec import SIDES
from wildrobot_torch.files import to_json
from wildrobot_torch.motion.clip import ClipError
from wildrobot_torch.motion.read.files import robot_motion
from wildrobot_torch.motion.read.kinds import SUFFIXES, kind_of, read_skeleton_motion
from wildrobot_torch.motion.read.segments import WALKING, pace, segments
from wildrobot_torch.motion.read.skeleton import SkeletonMotion


def main(options: argparse.Namespace) -> int:
    """0 when every file could be read, 1 when some could not."""
    found, bad = [], []
    for path in _files(options.paths):
        try:
            about = _about(path)
        except ClipError as error:
            reason = str(error).removeprefix(f"{path}: ")
            bad.append({"file": str(path), "error": reason})
            if not options.json:
                print(f"{path}: cannot be used: {reason}", flush=True)
            continue
        found.append(about)
        if not options.json:
            print("\n".join(_told(about)), flush=True)
    if options.json:
        print(to_json(found + bad).rstrip())
    else:
        seconds, walked = (sum(a[k] for a in found) for k in ("seconds", "walking_s"))
        read = f"{len(found)} file(s) read, {seconds:.1f} s, {walked:.1f} s of them walking ahead"
        print(read + (f"; {len(bad)} cannot be used" if bad else ""))
    return 1 if bad else 0


def _files(paths: Iterable[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        inside = [p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()]
        files += sorted(inside) if path.is_dir() else [path]
    if not files:
        raise UserError(f"no motion files there; wanted: {', '.join(SUFFIXES)} files")
    return files


def _about(path: Path) -> dict[str, Any]:
    kind = kind_of(path)
    if kind in ("clip", "pickle", "csv"):
        return _about_robot(path, kind)
    try:
        return _about_figure(path, kind, read_skeleton_motion(path))
    except ClipError:
        if kind != "LocoMuJoCo":
            raise
        return _about_robot(path, kind)


def _about_figure(path: Path, kind: str, motion: SkeletonMotion) -> dict[str, Any]:
    stretches = []
    for segment in segments(motion):
        mean = pace(motion, segment)
        stretches.append(
            {
                "start_s": round(segment.start_s, 2),
                "end_s": round(segment.end_s, 2),
                "kind": segment.kind,
                "speed": round(mean.speed, 3),
                "froude": round(mean.froude, 3),
                "turn_deg": round(math.degrees(mean.turn), 1),
            }
        )
    walked = sum(s["end_s"] - s["start_s"] for s in stretches if s["kind"] in WALKING)
    notes = list(motion.notes)
    expected = {"BVH": ".bvh", "AMC": ".amc"}.get(kind, ".npz")
    if path.suffix.lower() != expected:
        notes.append(f"its content is {kind}, whatever its name says")
    return {
        "file": str(path),
        "kind": kind,
        "seconds": round(motion.duration_s, 3),
        "fps": round(motion.fps, 4),
        "frames": motion.num_frames,
        "leg_length": round(motion.leg_length, 4),
        "notes": notes,
        "roles": motion.joints,
        "walking_s": round(walked, 2),
        "segments": stretches,
    }


def _about_robot(path: Path, kind: str) -> dict[str, Any]:
    motion = robot_motion(path, kind)
    return {
        "file": str(path),
        "kind": f"{kind} of a robot",
        "seconds": round(motion.duration_s, 3),
        "fps": round(motion.fps, 4),
        "frames": motion.num_frames,
        "notes": [f"{motion.mean_speed:.3f} m/s on average"],
        "joints": motion.joints,
        "walking_s": 0.0,
    }


def _told(about: dict[str, Any]) -> list[str]:
    head = f"{about['kind']}, {about['seconds']:.2f} s at {about['fps']:g} fps"
    lines = [f"{about['file']}: {head}", f"  {', '.join(about['notes'])}"]
    if "roles" in about:
        lines.append(f"  {_mapping(about['roles'])}")
        lines += [
            f"  {s['start_s']:6.2f} to {s['end_s']:6.2f} s  {s['kind']:<16}{s['speed']:5.2f} m/s"
            f"  Froude {s['froude']:.2f}  turns {s['turn_deg']:+.0f} deg"
            for s in about["segments"]
        ]
    else:
        joints = about["joints"]
        names = ", ".join(joints) if isinstance(joints, list) else f"{joints}, unnamed"
        lines.append(f"  joints: {names}")
    return lines


def _mapping(roles: dict[str, str]) -> str:
    """Roles and their names in the file: legs from hip to toe, arms from shoulder to wrist."""
    parts = [f"{role} {roles[role]}" for role in ("pelvis", "spine", "neck", "head")
             if role in roles]  # fmt: skip
    for limb, joints in (("leg", ("hip", "knee", "ankle", "toe")),
                         ("arm", ("shoulder", "elbow", "wrist"))):  # fmt: skip
        for side in SIDES:
            names = [roles[f"{side}_{j}"] for j in joints if f"{side}_{j}" in roles]
            if names:
                parts.append(f"{side} {limb} {' > '.join(names)}")
    return "; ".join(parts)
