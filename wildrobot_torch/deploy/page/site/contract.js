// An exported policy's contract, carried out: from readings to an observation to joint targets.
//
// Made from the metadata of the ONNX file alone. Readings are those of
// wildrobot_torch/contract.py: gravity, angvel (root frame: x forward, y left, z up), heading [rad],
// joint_pos [rad], joint_time [s], switches, age [s], and truth of a simulator.

const METADATA = "policy_spec";
const HISTORY = "_history";
const SHORTEST = 1e-3; // least time [s] between two readings that a velocity is made from

// Field of the observation -> its values.
const FIELDS = {
  imu_gravity: (i) => i.readings.gravity,
  imu_angvel: (i) => i.readings.angvel,
  imu_heading_error: (i) => [i.headingError],
  encoder_pos: (i) => inRange(i.contract, i.readings.joint_pos),
  encoder_vel: (i) => clipped(i.contract, i.velocity),
  switch_reading: (i) => i.readings.switches,
  prev_action: (i) => i.action,
  command: (i) => i.command,
  velocity_command: (i) => [i.command[0]],
  gravity: (i) => i.readings.gravity,
  angvel: (i) => i.readings.angvel,
  heading_error: (i) => [i.headingError],
  foot_switch: (i) => i.readings.switches,
  // What no robot measures.
  linvel: (i) => i.readings.truth.linvel,
  joint_pos: (i) => inRange(i.contract, i.readings.truth.joint_pos),
  joint_vel: (i) => clipped(i.contract, i.readings.truth.joint_vel),
};

const inRange = (contract, pos) =>
  pos.map((q, j) => (2 * q - contract.low[j] - contract.high[j]) / (contract.high[j] - contract.low[j]));
const clipped = (contract, vel) => vel.map((v, j) => clip(v / contract.maxVelocity[j], -1, 1));

export const clip = (value, low, high) => Math.min(Math.max(value, low), high);

// The nearest whole number; of two, the even one, as IEEE 754 and numpy round.
export function nearest(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

// Angle [rad] in [-pi, pi].
const wrapped = (angle) => angle - 2 * Math.PI * nearest(angle / (2 * Math.PI));

export class Contract {
  // Of the metadata of an ONNX file.
  static of(metadata) {
    if (!metadata[METADATA]) throw new Error(`the ONNX file has no metadata "${METADATA}"`);
    return new Contract(JSON.parse(metadata[METADATA]));
  }

  constructor(spec) {
    this.spec = spec;
    this.dt = spec.ctrl_dt; // [s]
    this.joints = spec.joint_names;
    this.low = spec.joint_range.map((range) => range[0]); // [rad]
    this.high = spec.joint_range.map((range) => range[1]);
    this.maxVelocity = spec.joint_max_velocity; // [rad/s]
    this.home = spec.default_joint_pos; // [rad]
    this.filter = spec.action.filter;
    this.offset = spec.action.offset; // [rad]
    this.gain = spec.action.gain; // [rad]
    this.threshold = spec.foot_switch_threshold; // [N]
    this.commands = commandRange(spec.env_config.command);
    this.headingHold = spec.env_config.command?.heading_hold ?? true;
    const where = {};
    let end = 0;
    for (const { name, size } of spec.observation_layout.fields) {
      where[name] = { name, size, start: end };
      end += size;
      const present = name.endsWith(HISTORY) ? name.slice(0, -HISTORY.length) : name;
      if (!FIELDS[present]) throw new Error(`the policy observes "${name}", which is unknown here`);
    }
    this.size = end;
    this.parts = Object.values(where)
      .filter((field) => !field.name.endsWith(HISTORY))
      .map((field) => ({ ...field, past: where[field.name + HISTORY] }));
  }
}

// Commands that a policy was trained with [m/s, m/s, rad/s].
function commandRange(trained = {}) {
  return {
    forward: [trained.velocity_min ?? 0, trained.velocity_max ?? 0],
    lateral: trained.lateral_max ?? 0,
    yawRate: trained.yaw_rate_max ?? 0,
    stands: (trained.standing_probability ?? 0) > 0,
    turns: (trained.turning_probability ?? 0) > 0,
  };
}

// The trained command nearest to one that is asked for, as the robot's runtime limits it.
export function clamped([forward, left, turn], trained) {
  const [low, high] = trained.forward;
  left = clip(left, -trained.lateral, trained.lateral);
  turn = clip(turn, -trained.yawRate, trained.yawRate);
  if (forward === 0 && left === 0 && (turn === 0 || trained.turns)) return [0, 0, turn];
  const walk = clip(forward, low, high);
  // Too slow a walk becomes a stand where that is nearer.
  if (left === 0 && Math.abs(forward) < Math.abs(forward - walk)) {
    return [0, 0, trained.turns ? turn : 0];
  }
  return [walk, left, turn];
}

// A policy with its memory: filtered action, heading to hold, earlier readings.
export class Controller {
  // `network` maps an observation (Float32Array) to a promise of an action.
  constructor(contract, network) {
    this.contract = contract;
    this.network = network;
    this.observation = new Float32Array(contract.size);
    this.begin(contract.home, 0);
  }

  // Start at a heading [rad], which is held, with servos that hold `targets` [rad].
  begin(targets, heading) {
    const { offset, gain } = this.contract;
    this.action = targets.map((target, j) => clip((target - offset[j]) / gain[j], -1, 1));
    this.heading = heading;
    this.turning = 0;
    this.last = null;
  }

  // Observation of new readings under a command; remembers them.
  observe(readings, command) {
    const { contract, observation, last } = this;
    let headingError = 0;
    if (!last) {
      this.velocity = readings.joint_pos.map(() => 0);
    } else {
      // Between two readings of an encoder its position and its velocity are held.
      this.velocity = this.velocity.map((held, j) => {
        const between = readings.joint_time[j] - last.joint_time[j];
        const change = readings.joint_pos[j] - last.joint_pos[j];
        return between > 0 ? change / Math.max(between, SHORTEST) : held;
      });
      this.heading += readings.age * this.turning;
    }
    this.last = readings;
    this.turning = command[2];
    if (contract.headingHold) headingError = wrapped(readings.heading - this.heading);
    const { velocity, action } = this;
    const instant = { contract, readings, velocity, action, command, headingError };
    for (const { name, size, start, past } of contract.parts) {
      if (past && last) {
        observation.copyWithin(past.start + size, past.start, past.start + past.size - size);
        observation.copyWithin(past.start, start, start + size);
      }
      const values = FIELDS[name](instant);
      if (values.length !== size) {
        throw new Error(`${name} has ${values.length} values, the policy expects ${size}`);
      }
      observation.set(values, start);
      if (past && !last) {
        // Before the first reading the robot has always been where it starts.
        for (let at = 0; at < past.size; at += size) observation.set(values, past.start + at);
      }
    }
    return observation.slice();
  }

  // Joint targets [rad] for new readings under a command.
  async act(readings, command) {
    const { filter, offset, gain, low, high } = this.contract;
    const action = await this.network(this.observe(readings, command));
    this.action = this.action.map((held, j) => filter * held + (1 - filter) * clip(action[j], -1, 1));
    return this.action.map((a, j) => clip(offset[j] + gain[j] * a, low[j], high[j]));
  }
}
