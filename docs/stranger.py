"""Drive an exported policy by what its ONNX file says: numpy, onnxruntime and mujoco, no more.

    python stranger.py policy.onnx scene.xml [SPEED SECONDS EPISODES]

Nothing of wildrobot_torch is imported: whoever has the file can do this. The scene is a MuJoCo
model with the robot's joints and a keyframe `home`. Sensors are perfect, targets are not late.
"""

import json
import sys

import mujoco
import numpy as np
import onnxruntime

policy, scene, speed, seconds, episodes = (sys.argv[1:] + ["0.3", "10", "4"][len(sys.argv) - 3 :])[
    :5
]
session = onnxruntime.InferenceSession(policy, providers=["CPUExecutionProvider"])
spec = json.loads(session.get_modelmeta().custom_metadata_map["policy_spec"])
action, servo, dt = spec["action"], spec["servo"], spec["ctrl_dt"]
low, high = np.array(spec["joint_range"]).T
kp, kv, limit, nominal = (
    np.array(spec[k]) for k in ("kp", "kv", "torque_limit", "joint_max_velocity")
)
offset, gain, count = np.array(action["offset"]), np.array(action["gain"]), servo["count"]
model = mujoco.MjModel.from_xml_path(scene)
model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_ACTUATION  # the servos are below
joints = [model.joint(name) for name in spec["joint_names"]]
q_at, v_at = [j.qposadr[0] for j in joints], [j.dofadr[0] for j in joints]
command, random, turn = np.array([float(speed), 0.0, 0.0]), np.random.default_rng(0), np.zeros(9)
distances, errors, falls = [], [], 0
for _ in range(int(episodes)):
    data = mujoco.MjData(model)
    mujoco.mj_resetDataKeyframe(model, data, model.key("home").id)
    data.qpos[q_at] = np.clip(data.qpos[q_at] + random.uniform(-0.05, 0.05, len(low)), low, high)
    sent = own = data.qpos[q_at].copy()  # the last target, and how far the servo is on its way
    filtered, rate, last, held, past = np.clip((own - offset) / gain, -1, 1), 0 * own, None, 0.0, []
    path = [data.qpos[:2].copy()]
    while len(path) <= round(float(seconds) / dt):
        mujoco.mju_quat2Mat(turn, data.qpos[3:7])
        q, yaw = np.round(data.qpos[q_at] / count) * count, np.arctan2(turn[3], turn[0])
        last, held = (q, yaw) if last is None else (last, held)
        now = {
            "imu_gravity": -turn[6:],
            "imu_angvel": data.qvel[3:6].copy(),
            "imu_heading_error": [np.angle(np.exp(1j * (yaw - held)))],
            "encoder_pos": (2 * q - low - high) / (high - low),
            "encoder_vel": np.clip((q - last) / dt / nominal, -1, 1),
            "prev_action": filtered,
            "command": command,
        }
        past = past or [now] * spec["history"]["steps"]
        seen = [
            now[name] if name in now else [f[name.removesuffix("_history")] for f in past]
            for name in (field["name"] for field in spec["observation_layout"]["fields"])
        ]
        last, past = q, [now, *past[:-1]]
        observation = np.concatenate([np.ravel(x) for x in seen]).astype(np.float32)
        (output,) = session.run(None, {"obs": observation[None]})
        filtered = filtered + (1 - action["filter"]) * (np.clip(output[0], -1, 1) - filtered)
        target = np.round(np.clip(offset + gain * filtered, low, high) / count) * count
        target = np.where(np.abs(target - sent) < servo["deadband"] - 1e-5, sent, target)
        rate = np.where(target != sent, np.abs(target - own) / servo["travel_time"], rate)
        sent = target
        for _ in range(round(dt / model.opt.timestep)):
            v, reach = data.qvel[v_at], rate * model.opt.timestep
            step = np.clip(sent - own, -reach, reach)
            torque = kp * (own + step / 2 - data.qpos[q_at]) - kv * v
            most, least = (
                np.clip(servo["stall_torque"] * (1 - s * v / servo["no_load_speed"]), 0, limit)
                for s in (1, -1)
            )
            own, data.qfrc_applied[v_at] = own + step, np.clip(torque, -least, most)
            mujoco.mj_step(model, data)
        path.append(data.qpos[:2].copy())
        if turn[8] < 0.7:  # 45 degrees
            falls += 1
            break
    settled = np.array(path[round(2 / dt) :] or path)
    mean = (settled[-1, 0] - settled[0, 0]) / max(dt * (len(settled) - 1), dt)
    errors.append(abs(mean - command[0]))
    distances.append(np.linalg.norm(path[-1] - path[0]))
found = {"episodes": int(episodes), "falls": falls, "distance_m": np.mean(distances)}
print(json.dumps(found | {"speed_error_m_s": np.mean(errors)}))
