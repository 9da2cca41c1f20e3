"""A biped as other people write theirs: an MJCF and a robot.yaml made from a few choices."""

from __future__ import annotations

from pathlib import Path

import yaml

LEG = """
<body name="hip_{s}" pos="{hip}">
  <joint name="r1_{s}" class="s" axis="{x}" range="-0.5 0.5"/>
  <geom type="sphere" size="0.02" mass="0.1" contype="0" conaffinity="0"/>
  <body name="thigh_{s}">
    <joint name="p1_{s}" class="s" axis="{y}" range="-1.2 1.2"/>
    <geom type="capsule" fromto="0 0 -0.03 0 0 -0.09" size="0.015" mass="0.1"/>
    <body name="shin_{s}" pos="0 0 -0.12">
      <joint name="p2_{s}" class="s" axis="{y}" range="0 2"/>
      <geom type="capsule" fromto="0 0 -0.03 0 0 -0.09" size="0.015" mass="0.1"/>
      <body name="foot_{s}" pos="0 0 -0.12">
        <joint name="p3_{s}" class="s" axis="{y}" range="-1 1"/>
        {foot}
      </body>
    </body>
  </body>
</body>
"""
ARM = """
<body name="arm_{s}" pos="{at}">
  <joint name="a_{s}" class="s" axis="{y}" range="-1 1"/>
  <geom type="capsule" fromto="0 0 -0.02 0 0 -0.08" size="0.012" mass="0.05"/>
</body>
"""
SPHERES = "".join(
    f'<geom type="sphere" size="0.008" pos="{{{x}}} -0.032" mass="0.02"/>' for x in "abcd"
)
BOX = '<geom type="box" size="{box}" pos="{mid} -0.034" mass="0.08"/>'

MODEL = """
<mujoco model="stranger">
  <compiler angle="radian" autolimits="true" meshdir="meshes"/>
  <default>
    <joint damping="0.01" armature="0.003"/>
    <geom condim="3"/>
    <default class="s"><joint frictionloss="0.01"/>{servo_default}</default>
  </default>
  {asset}
  <worldbody>
    <body name="torso" pos="0 0 0.4">
      {free}
      <geom type="box" size="0.03 0.04 0.05" pos="0 0 0.05" mass="0.8"/>
      {extra}
      {body}
    </body>
  </worldbody>
  {actuators}
  {tail}
</mujoco>
"""
JOINTS = ("r1", "p1", "p2", "p3")


def turned(x: float, y: float, z: float, y_forward: bool) -> str:
    """A vector of a robot that looks along x, in the axes of one that looks along y."""
    return f"{-y:g} {x:g} {z:g}" if y_forward else f"{x:g} {y:g} {z:g}"


def write_stranger(
    folder: Path,
    *,
    y_forward: bool = False,
    feet: str = "box",
    actuators: str | None = None,
    servo_default: str = '<position kp="15" kv="0.3" forcerange="-3 3"/>',
    arms: bool = False,
    asset: str = "",
    extra: str = "",
    tail: str = "",
    free: str = "<freejoint/>",
    **description: object,
) -> Path:
    """The folder with stranger.xml and robot.yaml; keywords replace keys of the description."""

    def axes(x: float, y: float, z: float) -> str:
        return turned(x, y, z, y_forward)

    corners = [(a, b) for a in (0.05, -0.03) for b in (0.02, -0.02)]
    places = dict(zip("abcd", (axes(a, b, 0).rsplit(" ", 1)[0] for a, b in corners), strict=True))
    size = "0.025 0.04 0.006" if y_forward else "0.04 0.025 0.006"
    foot = {
        "box": BOX.format(box=size, mid=axes(0.01, 0, 0).rsplit(" ", 1)[0]),
        "spheres": SPHERES.format(**places),
        "none": '<geom type="sphere" size="0.01" mass="0.08" contype="0" conaffinity="0"/>',
    }[feet]
    sides = {"a": 1.0, "b": -1.0}  # nothing in these names says left or right
    body = "".join(
        LEG.format(s=s, hip=axes(0, 0.05 * k, 0), x=axes(1, 0, 0), y=axes(0, 1, 0), foot=foot)
        for s, k in sides.items()
    )
    if arms:
        body = body + "".join(
            ARM.format(s=s, at=axes(0, 0.09 * k, 0.1), y=axes(0, 1, 0)) for s, k in sides.items()
        )
    names = [f"{joint}_{s}" for joint in JOINTS for s in sides]
    if actuators is None:
        driven = names + ([f"a_{s}" for s in sides] if arms else [])
        lines = "".join(f'<position class="s" joint="{name}"/>' for name in reversed(driven))
        actuators = f"<actuator>{lines}</actuator>"
    folder.mkdir(parents=True, exist_ok=True)
    text = MODEL.format(
        servo_default=servo_default, asset=asset, extra=extra, body=body, actuators=actuators,
        tail=tail, free=free,
    )  # fmt: skip
    (folder / "stranger.xml").write_text(text, encoding="utf-8")
    signs = {"r1": (-1, (-1, 1)), "p1": (1, (-1, -1)), "p2": (1, (1, 1)), "p3": (1, (1, 1))}
    joints = {
        f"{joint}_{s}": {
            "mirror": f"{joint}_{'ba'[i]}",
            "mirror_sign": signs[joint][0],
            "action_sign": signs[joint][1][i],
            "max_velocity": 6.0,
        }
        for i, s in enumerate(sides)
        for joint in JOINTS
    }
    bent = {"p1": -0.3, "p2": 0.6, "p3": -0.3}
    content: dict[str, object] = {
        "name": "stranger",
        "model": "stranger.xml",
        "root": {"body": "torso", **({"forward": [0, 1, 0]} if y_forward else {})},
        "joints": joints,
        "feet": {"left_foot": {"body": "foot_a"}, "right_foot": {"body": "foot_b"}},
        "home": {f"{joint}_{s}": angle for s in sides for joint, angle in bent.items()},
        **({"held": ["a_a", "a_b"]} if arms else {}),
        **description,
    }
    kept = {key: value for key, value in content.items() if value is not None}
    (folder / "robot.yaml").write_text(yaml.safe_dump(kept, sort_keys=False), encoding="utf-8")
    return folder
