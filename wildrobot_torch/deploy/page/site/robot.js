// The robot in MuJoCo: placed, driven by joint torques, pushed, and read by perfect sensors.

const FOLDER = "/robot";

export class Robot {
  // `files` are name -> text of the MJCF, `description` is robot.json of this page.
  constructor(mujoco, files, description, joints) {
    this.mujoco = mujoco;
    this.description = description;
    if (!mujoco.FS.analyzePath(FOLDER).exists) mujoco.FS.mkdir(FOLDER);
    for (const [name, text] of Object.entries(files)) mujoco.FS.writeFile(`${FOLDER}/${name}`, text);
    const model = mujoco.MjModel.from_xml_path(`${FOLDER}/${description.scene}`);
    // The servos' torques are applied by this page, not by the actuators of the MJCF.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ACTUATION.value;
    this.model = model;
    this.data = new mujoco.MjData(model);
    this.dt = model.opt.timestep; // [s]
    const { mjOBJ_JOINT, mjOBJ_BODY, mjOBJ_SENSOR, mjOBJ_KEY } = mujoco.mjtObj;
    const id = (kind, name) => {
      const found = mujoco.mj_name2id(model, kind.value, name);
      if (found < 0) throw new Error(`the robot's MJCF has nothing called "${name}"`);
      return found;
    };
    const hinges = joints.map((name) => id(mjOBJ_JOINT, name));
    this.qpos = hinges.map((joint) => model.jnt_qposadr[joint]);
    this.dofs = hinges.map((joint) => model.jnt_dofadr[joint]);
    this.root = id(mjOBJ_BODY, description.root.body);
    this.free = model.jnt_qposadr[id(mjOBJ_JOINT, description.root.joint)];
    this.freeDof = model.jnt_dofadr[id(mjOBJ_JOINT, description.root.joint)];
    this.support = description.plates.map(
      (plate) => model.sensor_adr[id(mjOBJ_SENSOR, `${plate}_contact`)] + 3,
    );
    this.home = id(mjOBJ_KEY, "home");
    this.place();
  }

  // Put the robot where it starts.
  place() {
    this.mujoco.mj_resetDataKeyframe(this.model, this.data, this.home);
    this.mujoco.mj_forward(this.model, this.data);
    this.force = [0, 0];
    this.forceSteps = 0;
  }

  // Views into MuJoCo's memory are fetched anew each time: they end when that memory grows.
  get positions() {
    const qpos = this.data.qpos;
    return this.qpos.map((address) => qpos[address]);
  }

  get velocities() {
    const qvel = this.data.qvel;
    return this.dofs.map((address) => qvel[address]);
  }

  // One physics step under joint torques [N m].
  step(torques) {
    const { qfrc_applied, xfrc_applied } = this.data;
    this.dofs.forEach((address, j) => (qfrc_applied[address] = torques[j]));
    const [x, y] = this.forceSteps > 0 ? this.force : [0, 0];
    xfrc_applied[6 * this.root] = x;
    xfrc_applied[6 * this.root + 1] = y;
    this.forceSteps = Math.max(this.forceSteps - 1, 0);
    this.mujoco.mj_step(this.model, this.data);
  }

  // Push the root by a force [N] for a time [s], at an angle [rad] from the robot's heading.
  push(newton, seconds, angle) {
    const towards = this.pose.heading + angle;
    this.force = [newton * Math.cos(towards), newton * Math.sin(towards)];
    this.forceSteps = Math.round(seconds / this.dt);
  }

  // Where the root is [m], and how it is turned: last row of its rotation matrix, heading [rad].
  get pose() {
    const qpos = this.data.qpos, at = this.free;
    const norm = Math.hypot(qpos[at + 3], qpos[at + 4], qpos[at + 5], qpos[at + 6]);
    const [w, x, y, z] = [3, 4, 5, 6].map((offset) => qpos[at + offset] / norm);
    return {
      position: [qpos[at], qpos[at + 1], qpos[at + 2]],
      up: [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
      heading: Math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)),
    };
  }

  // What perfect sensors say; encoders have the servos' counts. See contract.js.
  readings(contract, servos, time, age) {
    const { up, heading } = this.pose;
    const { qvel, sensordata } = this.data, at = this.freeDof;
    const [vx, vy, vz] = [qvel[at], qvel[at + 1], qvel[at + 2]];
    const cos = Math.cos(heading), sin = Math.sin(heading);
    const positions = this.positions;
    return {
      gravity: up.map((value) => -value),
      angvel: [qvel[at + 3], qvel[at + 4], qvel[at + 5]],
      heading,
      joint_pos: positions.map((q) => servos.read(q)),
      joint_time: positions.map(() => time),
      switches: this.support.map((address) => (sensordata[address] > contract.threshold ? 1 : 0)),
      age,
      truth: {
        joint_pos: positions,
        joint_vel: this.velocities,
        linvel: [cos * vx + sin * vy, cos * vy - sin * vx, vz],
      },
    };
  }

  // Why the robot has fallen: physics, pitch, roll or height; "" while it has not.
  get fall() {
    const { position, up } = this.pose, limits = this.description.fall;
    if (![...position, ...up, ...this.velocities].every(Number.isFinite)) return "physics";
    if (Math.abs(Math.asin(Math.min(Math.max(-up[0], -1), 1))) > limits.max_pitch) return "pitch";
    if (Math.abs(Math.atan2(up[1], up[2])) > limits.max_roll) return "roll";
    if (position[2] < limits.min_height || position[2] > limits.max_height) return "height";
    return "";
  }
}
