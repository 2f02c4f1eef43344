// Moves the camera: orbit around a target, fly, or walk; mouse, touch and keyboard.

import * as THREE from "three";

const TURN = 0.006; // radians per pixel
const STEEPEST = 0.02; // radians between the view and the up axis
const WHEEL = 0.0012;
const KEYS = { w: [0, 0, -1], s: [0, 0, 1], a: [-1, 0, 0], d: [1, 0, 0], e: [0, 1, 0], q: [0, -1, 0] };

export class Controls {
  constructor(stage, radius) {
    this.stage = stage;
    this.camera = stage.camera;
    this.radius = radius;
    this.target = new THREE.Vector3();
    this.up = new THREE.Vector3(0, 1, 0);
    this.mode = "orbit"; // or "fly", "walk"
    this.speed = 1;
    this.pressed = new Set();
    this.pointers = new Map();
    const { canvas } = stage;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    addEventListener("keydown", (event) => this.key(event, true));
    addEventListener("keyup", (event) => this.key(event, false));
    addEventListener("blur", () => this.pressed.clear());
    stage.updaters.push((elapsed) => this.update(elapsed));
  }

  /** Place the camera; a pose is camera to world with OpenGL axes. */
  setPose(pose, target) {
    pose.decompose(this.camera.position, this.camera.quaternion, this.camera.scale);
    this.target.copy(target);
    this.stage.invalidate();
  }

  lookAt(position, target) {
    this.setPose(new THREE.Matrix4().lookAt(position, target, this.up).setPosition(position), target);
  }

  get right() {
    return new THREE.Vector3(1, 0, 0).applyQuaternion(this.camera.quaternion);
  }

  get forward() {
    return new THREE.Vector3(0, 0, -1).applyQuaternion(this.camera.quaternion);
  }

  get distance() {
    return Math.max(this.camera.position.distanceTo(this.target), 1e-6);
  }

  moved() {
    this.stage.dropLens();
    this.stage.invalidate();
    this.onmove?.();
  }

  /** Turn around the target, or around the camera itself; without roll of its own. */
  turn(dx, dy) {
    const pivot = this.mode === "orbit" ? this.target : this.camera.position;
    const angle = this.forward.angleTo(this.up);
    const pitch = angle - Math.min(Math.max(angle + dy, STEEPEST), Math.PI - STEEPEST);
    const around = new THREE.Quaternion().setFromAxisAngle(this.up, dx);
    around.multiply(new THREE.Quaternion().setFromAxisAngle(this.right, pitch));
    this.camera.position.sub(pivot).applyQuaternion(around).add(pivot);
    this.camera.quaternion.premultiply(around).normalize();
    if (this.mode !== "orbit") this.target.copy(this.camera.position).addScaledVector(this.forward, this.radius * 2);
    this.moved();
  }

  /** Shift camera and target in the image plane, by pixels at the target's distance. */
  pan(dx, dy) {
    const size = (2 * this.distance) / this.camera.projectionMatrix.elements[5] / this.stage.canvas.clientHeight;
    const step = this.right.multiplyScalar(-dx * size);
    step.addScaledVector(new THREE.Vector3(0, 1, 0).applyQuaternion(this.camera.quaternion), dy * size);
    this.shift(step);
  }

  shift(step) {
    this.camera.position.add(step);
    this.target.add(step);
    this.moved();
  }

  /** Approach the target by a factor, or fly ahead. */
  dolly(factor) {
    if (this.mode === "orbit") {
      const distance = Math.min(Math.max(this.distance * factor, this.radius * 0.02), this.radius * 100);
      this.camera.position.sub(this.target).setLength(distance).add(this.target);
      this.moved();
    } else {
      this.shift(this.forward.multiplyScalar((1 - factor) * this.radius));
    }
  }

  press(event) {
    this.stage.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY];
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (other) {
      const apart = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY) || 1;
      this.pan(dx / 2, dy / 2);
      this.dolly(apart(before) / apart(event));
    } else if (event.buttons & 6 || event.shiftKey) {
      this.pan(dx, dy);
    } else {
      this.turn(-dx * TURN, dy * TURN); // orbit grabs the object, fly turns the head
    }
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : event.ctrlKey ? 8 : 1; // a pinch on a trackpad comes as Ctrl and small steps
    this.dolly(Math.exp(event.deltaY * lines * WHEEL));
  }

  key(event, isDown) {
    if (event.target instanceof Element && event.target.closest("input:not([type=range]), select, textarea")) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey || event.altKey || !(key in KEYS)) return;
    if (isDown) this.pressed.add(key);
    else this.pressed.delete(key);
    this.fast = event.shiftKey;
  }

  update(elapsed) {
    if (!this.pressed.size) return;
    const way = new THREE.Vector3();
    for (const key of this.pressed) way.add(new THREE.Vector3(...KEYS[key]));
    if (!way.lengthSq()) return;
    const lift = way.y;
    way.setY(0).applyQuaternion(this.camera.quaternion);
    if (this.mode === "walk") way.addScaledVector(this.up, -way.dot(this.up)); // level
    if (way.lengthSq()) way.normalize();
    way.addScaledVector(this.up, lift);
    this.shift(way.multiplyScalar(elapsed * this.radius * this.speed * (this.fast ? 3 : 1)));
  }
}
