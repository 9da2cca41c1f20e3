// The page: loads policy, robot and libraries, lets time pass, and carries out what people ask for.

import loadMujoco from "./vendor/mujoco.js";
import * as ort from "./vendor/ort.wasm.bundle.min.mjs";
import { Contract, clamped } from "./contract.js";
import { metadata } from "./onnx.js";
import { Robot } from "./robot.js";
import { Walk } from "./walk.js";

const FIRST = 0.3; // command at the start [m/s]
const PUSH_SECONDS = 0.1; // how long a push lasts [s]
const ARROW_SECONDS = 0.6; // how long the arrow of a push is shown, in simulated time [s]
const MOST_BEHIND = 0.1; // time that is made up for after a slow frame [s]
const DIRECTIONS = { forwards: 0, left: Math.PI / 2, backwards: Math.PI, right: -Math.PI / 2 };

const element = (id) => document.getElementById(id);
const show = (id, text) => {
  if (element(id).textContent !== text) element(id).textContent = text;
};

async function fetched(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} cannot be loaded (${response.status})`);
  return response;
}

const text = async (path) => (await fetched(path)).text();

async function load() {
  const policy = new Uint8Array(await (await fetched("policy.onnx")).arrayBuffer());
  const contract = Contract.of(metadata(policy));
  const description = await (await fetched("robot/robot.json")).json();
  const names = description.files;
  const files = await Promise.all(names.map((name) => text(`robot/${name}`)));
  // One thread: more of them would need headers that not every web server sends.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {
    wasm: new URL("./vendor/ort-wasm-simd-threaded.wasm", import.meta.url).href,
  };
  const options = { executionProviders: ["wasm"] };
  const [session, mujoco] = await Promise.all([
    ort.InferenceSession.create(policy, options), loadMujoco(),
  ]);
  const network = async (observation) => {
    const obs = new ort.Tensor("float32", observation, [1, observation.length]);
    return (await session.run({ obs })).actions.data;
  };
  const texts = Object.fromEntries(names.map((name, index) => [name, files[index]]));
  const robot = new Robot(mujoco, texts, description, contract.joints);
  const walk = new Walk(robot, contract, contract.spec.servo ?? description.servo, network);
  let scene = null;
  try {
    const { Scene } = await import("./scene.js");
    scene = new Scene(element("stage"), mujoco, robot.model);
  } catch (error) {
    // The walk goes on without a picture.
    console.warn(error);
    show("notice", "This browser shows no 3D graphics (WebGL is off); the numbers are still right.");
  }
  return { contract, network, robot, walk, scene };
}

function start({ contract, network, robot, walk, scene }) {
  let paused = false, halted = false;
  let pace = 1; // simulated time over real time
  let behind = 0; // real time that the simulation still has to pass through [s]
  let last = 0, shown = 0; // last frame and report [ms]
  let pushed = -Infinity; // last push, in simulated time [s]
  // Time passes in one place at a time: what changes the walk waits for its turn.
  let turn = Promise.resolve();
  const inTurn = (job) => (turn = turn.then(job));

  const draw = () => {
    const { pose } = robot;
    const recent = walk.time - pushed < ARROW_SECONDS;
    scene?.draw(robot.data, pose.position, recent ? robot.force : [0, 0]);
  };
  const report = () => {
    show("speed", `${(walk.speed + 0).toFixed(2).replace("-0.00", "0.00")}`);
    show("distance", walk.distance.toFixed(1));
    show("time", walk.time.toFixed(0));
    const told = clamped(walk.command, contract.commands).some((value) => value !== 0);
    const state = walk.fallen ? "Fallen" : paused ? "Paused" : told ? "Walking" : "Standing";
    show("state", state);
    element("state").dataset.state = state;
    show("pace", !paused && !walk.fallen && pace < 0.9 ? `Slow device: ${pace.toFixed(1)} x real time` : "");
    show("notice-fallen", walk.fallen ? "The robot fell. Reset starts again." : "");
  };
  const frame = (now) => {
    if (halted) return;
    const passed = Math.min((now - last) / 1000, 0.5);
    last = now;
    inTurn(async () => {
      let done = 0;
      if (!paused && !walk.fallen) {
        behind = Math.min(behind + passed, MOST_BEHIND);
        const steps = Math.floor(behind / robot.dt), before = walk.steps;
        behind -= steps * robot.dt;
        await walk.advance(steps);
        done = (walk.steps - before) * robot.dt;
        if (passed > 0) pace += 0.05 * (Math.min(done / passed, 1) - pace);
      }
      draw();
      if (now - shown > 100) {
        report();
        shown = now;
      }
    }).then(() => requestAnimationFrame(frame)).catch(fail);
  };

  const command = (values) => {
    walk.command = values;
    const [forward, left, yaw] = clamped(values, contract.commands);
    element("forward").value = forward;
    show("forward-value", forward ? `${forward.toFixed(2)} m/s` : "stand");
    element("left").value = left;
    show("left-value", `${left.toFixed(2)} m/s`);
    element("turn").value = yaw;
    show("turn-value", `${yaw.toFixed(2)} rad/s`);
  };
  const push = (direction, impulse = Number(element("impulse").value)) =>
    inTurn(() => {
      robot.push(impulse / PUSH_SECONDS, PUSH_SECONDS, DIRECTIONS[direction]);
      pushed = walk.time;
    });
  const reset = () => inTurn(() => {
    walk.reset();
    pushed = -Infinity;
    behind = 0;
    report();
  });
  const pause = (value = !paused) => {
    paused = value;
    show("pause", paused ? "Continue" : "Pause");
    report();
  };

  const { forward, lateral, yawRate, stands, turns } = contract.commands;
  const range = (id, low, high) => {
    Object.assign(element(id), { min: low, max: high, step: 0.01 });
    element(`${id}-row`).hidden = low === high;
  };
  range("forward", Math.min(forward[0], stands || turns ? 0 : forward[0]), forward[1]);
  range("left", -lateral, lateral);
  range("turn", -yawRate, yawRate);
  for (const id of ["forward", "left", "turn"]) {
    element(id).addEventListener("input", () =>
      command(["forward", "left", "turn"].map((name) => Number(element(name).value))));
  }
  const strength = () => show("impulse-value", `${Number(element("impulse").value).toFixed(1)} N s`);
  element("impulse").addEventListener("input", strength);
  for (const button of document.querySelectorAll("[data-push]")) {
    button.addEventListener("click", () => push(button.dataset.push));
  }
  element("pause").addEventListener("click", () => pause());
  element("reset").addEventListener("click", reset);
  document.addEventListener("visibilitychange", () => (last = performance.now()));

  strength();
  command([FIRST, 0, 0]);
  report();
  element("loading").remove();
  element("controls").disabled = false;
  requestAnimationFrame((now) => {
    last = now;
    frame(now);
  });

  // For tests and for scripts in the browser's console.
  return {
    contract, network, robot, walk, command, push, reset, pause,
    // Let simulated time [s] pass as fast as it can, and say how the robot fares.
    run: (seconds) => inTurn(async () => {
      const began = performance.now(), from = walk.time;
      await walk.advance(Math.round(seconds / robot.dt));
      report();
      const { fallen, time, distance, speed } = walk;
      const pace = (1000 * (time - from)) / (performance.now() - began);
      return { fallen, time, distance, speed, pace };
    }),
    // Nothing moves any more but by `run`.
    halt: () => (halted = true),
  };
}

function fail(error) {
  console.error(error);
  element("loading")?.remove();
  show("notice", `This page cannot go on: ${error.message ?? error}`);
}

// Resolves once the robot walks.
window.wildrobot = load().then(start);
window.wildrobot.catch(fail);
