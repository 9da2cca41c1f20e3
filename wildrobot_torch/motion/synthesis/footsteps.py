"""When and where the feet of a walk are: the plan a walking pattern is made from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wildrobot_torch.motion.posing import FootPath
from wildrobot_torch.motion.rotations import Array


@dataclass
class FootstepPlan:
    """A walk from standing to standing along +x; sides alternate, the left foot swings first.

    Stand, shift the weight (first double support), then per step a single and a double support,
    then stand. The first and the last step are half as long as the others.
    """

    num_steps: int
    step_s: float
    """Duration of a step: single support and the double support after it [s]."""
    double_share: float
    """Share of a step in double support, in (0, 1)."""
    step_length: float
    """From the ankle of one stance foot to the next [m]."""
    half_width: float
    """Lateral distance of a sole's middle from the centre line [m]."""
    stand_s: float
    """Standing before and after the walk [s]."""

    def __post_init__(self) -> None:
        """Durations [s] of a double support, of a single one, and of the whole plan."""
        self.double_s = self.double_share * self.step_s
        self.single_s = self.step_s - self.double_s
        self.duration_s = 2.0 * self.stand_s + self.double_s + self.num_steps * self.step_s

    def lift_time(self, step: int) -> float:
        """Start of the single support of a step [s]."""
        return self.stand_s + self.double_s + step * self.step_s

    def stance_x(self, step: int) -> float:
        """Ankle position of the foot that carries step `step`, together again at the end [m]."""
        step = min(step, self.num_steps - 1)
        return 0.0 if step <= 0 else (step - 0.5) * self.step_length

    def zmp(self, zmp_back: float, zmp_front: float, zmp_half_width: float) -> tuple[Array, Array]:
        """Knots (K,) [s] and zero-moment points (K, 2) [m] of the plan.

        In single support these run along the stance foot from `zmp_back` to `zmp_front` ahead of
        the ankle, `zmp_half_width` off the centre line; in double support they cross over;
        standing, they are between the feet.
        """
        middle = (zmp_back + zmp_front) / 2.0
        knots, points = [0.0, self.stand_s], [(middle, 0.0), (middle, 0.0)]
        for step in range(self.num_steps):
            x = self.stance_x(step)
            y = -zmp_half_width if step % 2 == 0 else zmp_half_width
            knots += [self.lift_time(step), self.lift_time(step) + self.single_s]
            points += [(x + zmp_back, y), (x + zmp_front, y)]
        end = self.stance_x(self.num_steps) + middle
        knots += [self.duration_s - self.stand_s, self.duration_s]
        points += [(end, 0.0), (end, 0.0)]
        return np.array(knots), np.array(points)

    def weight(self, times: Array) -> Array:
        """Share (N, 2) of the weight on each foot: passed on smoothly in double support."""
        knots, zmp = self.zmp(0.0, 0.0, 0.5)
        right = 0.5 - np.interp(times, knots, zmp[:, 1])
        right = right * right * (3.0 - 2.0 * right)
        return np.stack([1.0 - right, right], -1)

    def progress(self, step: int) -> float:
        """Steps that the middle of the feet has made when the foot that carries `step` lands."""
        step = min(step, self.num_steps - 1)
        return 0.0 if step <= 0 else step - 0.5

    def feet(self, times: Array, clearance: float) -> tuple[FootPath, FootPath]:
        """Left and right sole over time (N,), level, lifted by `clearance` [m] at mid-swing.

        A swing is half a cosine wave along x and a whole one in z: at lift-off and touch-down
        velocity is zero along both, so a stance foot never slips. (A cycloid along x would spare
        the jump in acceleration, and cost a quarter more speed and torque.)
        """
        paths = []
        for side in (0, 1):
            sole = np.zeros((len(times), 3))
            sole[:, 1] = self.half_width if side == 0 else -self.half_width
            x = 0.0
            for step in range(side, self.num_steps, 2):
                share = np.clip((times - self.lift_time(step)) / self.single_s, 0.0, 1.0)
                turn = 2.0 * np.pi * share
                landing = self.stance_x(step + 1)
                sole[:, 0] += (landing - x) * (1.0 - np.cos(turn / 2.0)) / 2.0
                sole[:, 2] += clearance * (1.0 - np.cos(turn)) / 2.0
                x = landing
            paths.append(FootPath(sole, np.zeros(len(times))))
        return paths[0], paths[1]


@dataclass
class CurvedPlan(FootstepPlan):
    """A walk along an arc: each step goes ahead, aside and turns by the same amounts."""

    aside: float = 0.0
    """Way to the left in a step [m]."""
    turn: float = 0.0
    """Turn to the left in a step [rad]."""
    toe_out: float = 0.0
    """Heading of each foot outwards from the middle's [rad]."""

    def middle(self, progress: float) -> tuple[Array, float]:
        """Place (2,) [m] and heading [rad] of the middle of the feet after so many steps."""
        angle = progress * self.turn
        ahead, aside = progress * self.step_length, progress * self.aside
        if abs(angle) < 1e-9:
            return np.array([ahead, aside]), angle
        # A constant velocity in a frame that turns constantly: an arc.
        sin, cos = np.sin(angle) / angle, (1.0 - np.cos(angle)) / angle
        return np.array([sin * ahead - cos * aside, cos * ahead + sin * aside]), angle

    def place(
        self, side: int, progress: float, ahead: float = 0.0, half: float | None = None
    ) -> tuple[Array, float]:
        """Place (2,) [m] and heading [rad] of a foot, or of a point `ahead` of its ankle.

        `half` [m] is its distance from the middle; None for the foot's own.
        """
        where, angle = self.middle(progress)
        outwards = 1.0 - 2.0 * side
        aside = outwards * (self.half_width if half is None else half)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return where + turn @ [ahead, aside], angle + outwards * self.toe_out

    def zmp(self, zmp_back: float, zmp_front: float, zmp_half_width: float) -> tuple[Array, Array]:
        """As of a straight plan, along the arc."""
        ahead = (zmp_back + zmp_front) / 2.0

        def between(progress: float) -> Array:
            return (self.place(0, progress, ahead)[0] + self.place(1, progress, ahead)[0]) / 2.0

        knots, points = [0.0, self.stand_s], [between(0.0), between(0.0)]
        for step in range(self.num_steps):
            side, progress = 1 - step % 2, self.progress(step)
            knots += [self.lift_time(step), self.lift_time(step) + self.single_s]
            points += [
                self.place(side, progress, point, zmp_half_width)[0]
                for point in (zmp_back, zmp_front)
            ]
        end = between(self.progress(self.num_steps))
        knots += [self.duration_s - self.stand_s, self.duration_s]
        return np.array(knots), np.array([*points, end, end])

    def weight(self, times: Array) -> Array:
        """As of a straight plan: by the times alone."""
        straight = FootstepPlan(
            *(self.num_steps, self.step_s, self.double_share, self.step_length),
            *(self.half_width, self.stand_s),
        )
        return straight.weight(times)

    def feet(self, times: Array, clearance: float) -> tuple[FootPath, FootPath]:
        """As of a straight plan; the feet turn in their swings too."""
        paths = []
        for side in (0, 1):
            sole, yaw = np.zeros((len(times), 3)), np.zeros(len(times))
            place, angle = self.place(side, 0.0)
            sole[:, :2], yaw[:] = place, angle
            for step in range(side, self.num_steps, 2):
                share = np.clip((times - self.lift_time(step)) / self.single_s, 0.0, 1.0)
                landing, facing = self.place(side, self.progress(step + 1))
                along = (1.0 - np.cos(np.pi * share)) / 2.0
                sole[:, :2] += (landing - place) * along[:, None]
                sole[:, 2] += clearance * (1.0 - np.cos(2.0 * np.pi * share)) / 2.0
                yaw += (facing - angle) * along
                place, angle = landing, facing
            paths.append(FootPath(sole, np.zeros(len(times)), yaw))
        return paths[0], paths[1]
