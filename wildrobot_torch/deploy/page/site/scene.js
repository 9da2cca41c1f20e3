// The robot drawn by three.js from the geoms of the compiled model; the camera follows it.

import * as THREE from "three";
import { OrbitControls } from "./vendor/OrbitControls.js";

const SKY = 0xdfe8f1, LIGHT = 0xd9dcdf, DARK = 0xc4c8cd, LINE = 0x8a9199, PUSH = 0xd62f1f;
const SQUARE = 0.25; // side of the floor's squares [m]
const FLOOR = 40; // side of the floor, which goes along with the robot [m]
const MARKS = 12; // metre marks that are drawn at once
const DRAWN = 2; // group of the geoms that are for the eye
const LOOK = 0.37; // height that the camera looks at [m]
const READOUT = 110; // height of the picture that readings and notices cover [CSS pixels]

export class Scene {
  constructor(stage, mujoco, model) {
    this.stage = stage;
    this.model = model;
    THREE.Object3D.DEFAULT_UP.set(0, 0, 1);
    this.renderer = new THREE.WebGLRenderer({ antialias: true });
    this.renderer.shadowMap.enabled = true;
    stage.append(this.renderer.domElement);
    this.scene = new THREE.Scene();
    this.scene.background = new THREE.Color(SKY);
    this.scene.fog = new THREE.Fog(SKY, 3.5, 11);
    this.camera = new THREE.PerspectiveCamera(40, 1, 0.05, 40);
    this.controls = new OrbitControls(this.camera, this.renderer.domElement);
    Object.assign(this.controls, { enablePan: false, minDistance: 0.6, maxDistance: 5 });
    this.controls.maxPolarAngle = 0.49 * Math.PI; // not below the floor
    this.addLight();
    this.addFloor();
    this.addRobot(mujoco, model);
    this.addArrow();
    this.look([0, 0, LOOK]);
    new ResizeObserver(() => this.resize()).observe(stage);
    this.resize();
  }

  addLight() {
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0xb8bcc2, 1.6));
    this.lamp = new THREE.DirectionalLight(0xffffff, 2.2);
    this.lamp.castShadow = true;
    this.lamp.shadow.mapSize.set(1024, 1024);
    this.lamp.shadow.radius = 3;
    this.lamp.shadow.bias = -0.0005;
    Object.assign(this.lamp.shadow.camera,
      { left: -0.8, right: 0.8, top: 0.8, bottom: -0.8, near: 0.5, far: 5 });
    this.scene.add(this.lamp, this.lamp.target);
  }

  addFloor() {
    const texture = drawn(64, 64, (pen) => {
      pen.fillStyle = css(LIGHT);
      pen.fillRect(0, 0, 64, 64);
      pen.fillStyle = css(DARK);
      pen.fillRect(0, 0, 32, 32);
      pen.fillRect(32, 32, 32, 32);
    });
    texture.wrapS = texture.wrapT = THREE.RepeatWrapping;
    texture.repeat.set(FLOOR / (2 * SQUARE), FLOOR / (2 * SQUARE));
    texture.anisotropy = 8;
    const material = new THREE.MeshLambertMaterial({ map: texture });
    this.floor = new THREE.Mesh(new THREE.PlaneGeometry(FLOOR, FLOOR), material);
    this.floor.receiveShadow = true;
    this.scene.add(this.floor);
    this.marks = Array.from({ length: MARKS }, () => {
      const mark = new THREE.Group();
      const line = new THREE.Mesh(
        new THREE.PlaneGeometry(0.012, 1.2), new THREE.MeshBasicMaterial({ color: LINE }));
      const label = new THREE.Mesh(
        new THREE.PlaneGeometry(0.36, 0.24), new THREE.MeshBasicMaterial({ transparent: true }));
      label.position.set(0, 0.72, 0); // beyond the line's end, on the side away from the camera
      label.rotation.z = Math.PI / 4;
      mark.add(line, label);
      mark.position.z = 0.001;
      this.scene.add(mark);
      return mark;
    });
  }

  addRobot(mujoco, model) {
    this.geoms = [];
    for (let id = 0; id < model.ngeom; id++) {
      if (model.geom_group[id] !== DRAWN) continue;
      const geometry = shape(mujoco, model, id);
      const mesh = new THREE.Mesh(geometry, material(model, id));
      mesh.castShadow = mesh.receiveShadow = true;
      mesh.matrixAutoUpdate = false;
      this.scene.add(mesh);
      this.geoms.push([id, mesh]);
    }
  }

  // The arrow of a push, along y with its head's tip at the origin [m].
  addArrow() {
    const red = new THREE.MeshLambertMaterial({ color: PUSH });
    const head = new THREE.Mesh(new THREE.ConeGeometry(0.035, 0.08, 24), red);
    const shaft = new THREE.Mesh(new THREE.CylinderGeometry(0.012, 0.012, 0.2, 24), red);
    head.position.y = -0.04;
    shaft.position.y = -0.18;
    this.arrow = new THREE.Group().add(head, shaft);
    this.scene.add(this.arrow);
  }

  // Look at a point [m] from ahead and the right.
  look([x, y, z]) {
    this.controls.target.set(x, y, z);
    this.camera.position.set(x + 1.0, y - 1.35, z + 0.35);
    this.controls.update();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.stage;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.setSize(width, height);
    this.camera.aspect = width / height;
    // Half the view at a distance of 1: the whole robot, and room for its steps.
    const tall = (0.3 * height) / Math.max(height - READOUT, 1), wide = (0.2 * height) / width;
    this.camera.fov = (360 / Math.PI) * Math.atan(Math.min(Math.max(tall, wide), 1));
    this.camera.updateProjectionMatrix();
  }

  // Draw the present state; `force` [N] in the world is that of the last push, 0 for none.
  draw(data, position, force) {
    const { geom_xpos: at, geom_xmat: turn } = data;
    for (const [id, mesh] of this.geoms) {
      const p = 3 * id, r = 9 * id;
      mesh.matrix.set(
        turn[r], turn[r + 1], turn[r + 2], at[p],
        turn[r + 3], turn[r + 4], turn[r + 5], at[p + 1],
        turn[r + 6], turn[r + 7], turn[r + 8], at[p + 2],
        0, 0, 0, 1);
      mesh.matrixWorldNeedsUpdate = true;
    }
    const [x, y, z] = position;
    const moved = new THREE.Vector3(x, y, LOOK).sub(this.controls.target);
    this.controls.target.add(moved);
    this.camera.position.add(moved);
    this.controls.update();
    this.lamp.target.position.set(x, y, LOOK);
    this.lamp.position.set(x + 0.6, y - 0.9, LOOK + 2.2);
    const cell = 2 * SQUARE;
    this.floor.position.set(Math.round(x / cell) * cell, Math.round(y / cell) * cell, 0);
    this.lay(Math.round(x));
    const size = Math.hypot(...force);
    this.arrow.visible = size > 0;
    if (size > 0) {
      const direction = new THREE.Vector3(force[0] / size, force[1] / size, 0);
      this.arrow.quaternion.setFromUnitVectors(new THREE.Vector3(0, 1, 0), direction);
      // Its tip is beside the chest.
      this.arrow.position.set(x, y, z + 0.14).addScaledVector(direction, -0.08);
    }
    this.renderer.render(this.scene, this.camera);
  }

  // Lay the metre marks around a whole metre.
  lay(metre) {
    const first = metre - MARKS / 2;
    if (this.first === first) return;
    this.first = first;
    this.marks.forEach((mark, index) => {
      mark.position.x = first + index;
      const [, label] = mark.children;
      label.material.map?.dispose();
      label.material.map = drawn(192, 128, (pen) => {
        pen.fillStyle = "#4a525b";
        pen.font = "600 72px system-ui, sans-serif";
        pen.textAlign = "center";
        pen.textBaseline = "middle";
        pen.fillText(`${first + index} m`, 96, 68);
      });
      label.material.needsUpdate = true;
    });
  }
}

const css = (color) => `#${color.toString(16).padStart(6, "0")}`;

// A texture that is drawn with a pen.
function drawn(width, height, draw) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  draw(canvas.getContext("2d"));
  const texture = new THREE.CanvasTexture(canvas);
  texture.colorSpace = THREE.SRGBColorSpace;
  return texture;
}

function material(model, id) {
  const own = model.geom_matid[id];
  const values = own >= 0 ? model.mat_rgba : model.geom_rgba, at = 4 * (own >= 0 ? own : id);
  const color = new THREE.Color().setRGB(
    values[at], values[at + 1], values[at + 2], THREE.SRGBColorSpace);
  const shininess = own >= 0 ? 128 * model.mat_shininess[own] : 32;
  const flatShading = model.geom_dataid[id] >= 0; // shells have edges
  return new THREE.MeshPhongMaterial({ color, shininess, specular: 0x333333, flatShading });
}

// Geometry in the geom's own frame; sizes are MuJoCo's half sizes [m].
function shape(mujoco, model, id) {
  const [a, b, c] = model.geom_size.subarray(3 * id, 3 * id + 3);
  const kinds = mujoco.mjtGeom, kind = model.geom_type[id];
  const turned = (geometry) => geometry.rotateX(Math.PI / 2); // three's axis is y, MuJoCo's z
  if (kind === kinds.mjGEOM_BOX.value) return new THREE.BoxGeometry(2 * a, 2 * b, 2 * c);
  if (kind === kinds.mjGEOM_SPHERE.value) return new THREE.SphereGeometry(a, 32, 24);
  if (kind === kinds.mjGEOM_ELLIPSOID.value) return new THREE.SphereGeometry(1, 32, 24).scale(a, b, c);
  if (kind === kinds.mjGEOM_CYLINDER.value) return turned(new THREE.CylinderGeometry(a, a, 2 * b, 32));
  if (kind === kinds.mjGEOM_CAPSULE.value) return turned(new THREE.CapsuleGeometry(a, 2 * b, 8, 32));
  if (kind === kinds.mjGEOM_MESH.value) return hull(model, model.geom_dataid[id]);
  throw new Error(`geom ${id} is of kind ${kind}, which is not drawn here`);
}

function hull(model, id) {
  const vertices = 3 * model.mesh_vertadr[id], faces = 3 * model.mesh_faceadr[id];
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.BufferAttribute(
    model.mesh_vert.slice(vertices, vertices + 3 * model.mesh_vertnum[id]), 3));
  geometry.setIndex([...model.mesh_face.subarray(faces, faces + 3 * model.mesh_facenum[id])]);
  geometry.computeVertexNormals();
  return geometry;
}
