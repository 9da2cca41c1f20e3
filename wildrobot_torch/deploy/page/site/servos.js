// Position servos, computed at every physics step:
//
//   target, rounded to counts -> deadband -> travel -> kp (target - q) - kv qd -> limit
//
// The limit is the line from the stall torque to the speed without load, cut at the electronics'.

import { clip, nearest } from "./contract.js";

export class Servos {
  // `servo` are the numbers of one servo: of the contract, or of robot.yaml where that has none.
  constructor(contract, servo) {
    const ideal = servo.model === "ideal";
    this.contract = contract;
    this.kp = contract.spec.kp; // [N m/rad]
    this.kv = contract.spec.kv; // [N m s/rad]
    this.most = contract.spec.torque_limit; // [N m]
    this.stall = ideal ? Infinity : servo.stall_torque; // [N m]
    this.slope = ideal ? 0 : servo.stall_torque / servo.no_load_speed; // [N m s/rad]
    this.count = ideal ? 0 : servo.count; // [rad]
    this.deadband = ideal ? 0 : servo.deadband; // [rad]
    this.travelTime = ideal ? 0 : servo.travel_time; // [s]
    this.begin(contract.home);
  }

  // At rest at `targets` [rad].
  begin(targets) {
    this.goal = [...targets];
    this.own = [...targets];
    this.rate = targets.map(() => 0);
  }

  // What an encoder says of a joint's position [rad].
  read(position) {
    return this.count ? nearest(position / this.count) * this.count : position;
  }

  // Send targets [rad] at the beginning of a control step.
  send(targets) {
    const { low, high } = this.contract;
    for (let j = 0; j < targets.length; j++) {
      const target = this.read(clip(targets[j], low[j], high[j]));
      // Exactly at the deadband a target is sent; counts and deadband are rounded differently.
      if (this.deadband && Math.abs(target - this.goal[j]) < this.deadband - 1e-5) continue;
      if (!this.travelTime) this.own[j] = target;
      else if (target !== this.goal[j]) this.rate[j] = (target - this.own[j]) / this.travelTime;
      this.goal[j] = target;
    }
  }

  // Torques [N m] for the next `dt` [s] of joints at [rad] and [rad/s].
  drive(positions, velocities, dt) {
    return this.goal.map((goal, j) => {
      const ahead = goal - this.own[j];
      const moved = Math.sign(ahead) * Math.min(Math.abs(this.rate[j] * dt), Math.abs(ahead));
      // The middle of the interval stands for it.
      const error = this.own[j] + 0.5 * moved - positions[j];
      this.own[j] += moved;
      const torque = this.kp[j] * error - this.kv[j] * velocities[j];
      return clip(torque, -this.limit(j, -velocities[j]), this.limit(j, velocities[j]));
    });
  }

  // Largest torque [N m] of joint `j` in a direction in which it moves at `speed` [rad/s].
  limit(j, speed) {
    return clip(this.stall - this.slope * speed, 0, this.most[j]);
  }
}
