// A walk: sensors, contract, servos and physics, one after another, and what is measured of it.

import { Controller, clamped } from "./contract.js";
import { Servos } from "./servos.js";

const WINDOW = 1.0; // time that the speed is a mean over [s]

export class Walk {
  constructor(robot, contract, servo, network) {
    this.robot = robot;
    this.contract = contract;
    this.controller = new Controller(contract, network);
    this.servos = new Servos(contract, servo);
    this.substeps = Math.round(contract.dt / robot.dt);
    if (Math.abs(this.substeps * robot.dt - contract.dt) > 1e-9) {
      throw new Error(`physics steps of ${robot.dt} s do not divide the control step, ${contract.dt} s`);
    }
    this.command = [0, 0, 0];
    this.reset();
  }

  reset() {
    const { robot, contract } = this;
    robot.place();
    const targets = robot.positions.map((q, j) =>
      Math.min(Math.max(q, contract.low[j]), contract.high[j]));
    this.servos.begin(targets);
    this.controller.begin(targets, robot.pose.heading);
    this.steps = 0; // physics steps since the start
    this.fallen = "";
    this.start = robot.pose.position;
    this.track = [this.start]; // positions at the last control steps
  }

  // Simulated time since the start [s].
  get time() {
    return this.steps * this.robot.dt;
  }

  // Physics steps; ends early at a fall.
  async advance(steps) {
    const { robot, contract, servos } = this;
    for (let i = 0; i < steps && !this.fallen; i++) {
      if (this.steps % this.substeps === 0) {
        const readings = robot.readings(contract, servos, this.time, contract.dt);
        servos.send(await this.controller.act(readings, clamped(this.command, contract.commands)));
      }
      robot.step(servos.drive(robot.positions, robot.velocities, robot.dt));
      this.steps++;
      if (this.steps % this.substeps === 0) {
        this.track.push(robot.pose.position);
        if (this.track.length > Math.round(WINDOW / contract.dt) + 1) this.track.shift();
        this.fallen = robot.fall;
      }
    }
  }

  // From the start in a straight line [m].
  get distance() {
    const [x, y] = this.robot.pose.position;
    return Math.hypot(x - this.start[0], y - this.start[1]);
  }

  // Along the heading, mean of the last second [m/s].
  get speed() {
    const passed = (this.track.length - 1) * this.contract.dt;
    if (passed === 0) return 0;
    const [from, to] = [this.track[0], this.track.at(-1)], { heading } = this.robot.pose;
    return ((to[0] - from[0]) * Math.cos(heading) + (to[1] - from[1]) * Math.sin(heading)) / passed;
  }
}
