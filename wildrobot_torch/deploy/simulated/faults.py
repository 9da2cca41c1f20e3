"""Faults of a simulated robot that begin and end at given times.

Written as `KIND[:WHERE]@START[+DURATION][=SIZE]`:

    silent:left_knee_pitch@3         from 3 s on
    silent:left_knee_pitch@3+0.5     for half a second
    push:x@5+0.12=8                  8 N forwards for 0.12 s

A time counts from the robot's start, of a fault that is injected from when it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from envs.errors import UserError, closest

KINDS = {
    "silent": ("joint", "", "the servo answers no more and gets no targets; it holds the last one"),
    "limp": ("joint", "", "the servo has no torque, as when it is too hot"),
    "lost": ("joint or nothing", "share", "this share of its readings is lost"),
    "frozen": ("joint", "", "its reading stays while its time goes on"),
    "jump": ("joint", "rad", "its reading is off by this much"),
    "nan": ("joint", "", "its reading is no number"),
    "imu_silent": ("", "", "the IMU reports nothing new"),
    "imu_frozen": ("", "", "its values stay while their time goes on"),
    "imu_jump": ("", "deg", "its orientation is pitched by this much"),
    "imu_nan": ("", "", "it reports no numbers"),
    "switch_open": ("plate", "", "the switch reads open"),
    "switch_closed": ("plate", "", "the switch reads closed"),
    "battery": ("", "V", "the battery has this voltage without load"),
    "hot": ("joint", "deg C", "the servo has this temperature"),
    "push": ("axis x, y or z", "N", "a force on the root in the world's axes"),
    "clock": ("", "s", "all times are early by this much"),
    "pause": ("", "", "the process does nothing and answers nothing"),
    "crash": ("", "", "the process ends at once"),
}
"""Kind -> what WHERE names, unit of SIZE, meaning; "" for neither."""
_PATTERN = re.compile(
    r"(?P<kind>\w+)(:(?P<where>\w+))?@(?P<start>[\d.]+)(\+(?P<duration>[\d.]+))?"
    r"(=(?P<size>[-+\d.eE]+))?"
)


@dataclass(frozen=True)
class Fault:
    """One fault."""

    kind: str
    """One of `KINDS`."""
    where: str
    """Joint, plate or axis; "" for none."""
    start: float
    """[s]."""
    end: float
    """[s]; infinite for one that stays."""
    size: float
    """See `KINDS`."""

    def active(self, time: float) -> bool:
        """Whether it is there at a time [s]."""
        return self.start <= time < self.end


def parse(text: str, joints: Sequence[str], plates: Sequence[str], since: float = 0.0) -> Fault:
    """The fault of a text; its time counts from `since` [s].

    Raises:
        UserError: the text is none, or names what there is not.
    """
    form = "KIND[:WHERE]@START[+DURATION][=SIZE], as in silent:JOINT@3+0.5"
    found = _PATTERN.fullmatch(text.strip())
    if found is None:
        raise UserError(f"fault {text!r} cannot be read; write {form}")
    kind, where = found["kind"], found["where"] or ""
    if kind not in KINDS:
        raise UserError(
            f"fault {kind!r} is unknown{closest(kind, KINDS)}; allowed: {', '.join(KINDS)}"
        )
    place, unit, _ = KINDS[kind]
    known = {"joint": joints, "joint or nothing": ("", *joints), "plate": plates,
             "axis x, y or z": ("x", "y", "z"), "": ("",)}[place]  # fmt: skip
    if where not in known:
        allowed = ", ".join(name for name in known if name) or "no place"
        raise UserError(
            f"fault {text!r} is at {where!r}{closest(where, known)}; allowed: {allowed}"
        )
    if bool(unit) != (found["size"] is not None):
        needed = f"needs a size [{unit}], as in =1" if unit else "has no size"
        raise UserError(f"fault {text!r}: {kind} {needed}; write {form}")
    try:
        start, lasts = float(found["start"]), float(found["duration"] or math.inf)
        size = float(found["size"] or math.nan)
    except ValueError as error:
        raise UserError(f"fault {text!r} holds no number; write {form}") from error
    return Fault(kind, where, since + start, since + start + lasts, size)
