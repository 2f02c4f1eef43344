// A camera path through key frames, and its file in nerfstudio's form.

import * as THREE from "three";
import { rowMajor } from "./world.js";

export class CameraPath {
  constructor(stage, controls, player, world) {
    Object.assign(this, { stage, controls, player, world });
    this.keys = []; // {position, quaternion, fov, time}
    this.seconds = 4;
    this.fps = 24;
    this.width = 1280;
    this.height = 720;
    this.playing = null; // seconds since the preview began
    this.onchange = () => {};
    stage.updaters.push((elapsed) => this.update(elapsed));
  }

  /** Vertical field of view in degrees of what the camera shows, or of the input camera that it looks through. */
  get fov() {
    const { lens, fov } = this.stage;
    return lens ? (2 * Math.atan(lens.height / 2 / lens.fy) * 180) / Math.PI : fov;
  }

  add() {
    const { position, quaternion } = this.stage.camera;
    this.keys.push({ position: position.clone(), quaternion: quaternion.clone(), fov: this.fov, time: this.player.time });
    this.onchange();
  }

  remove(index) {
    this.keys.splice(index, 1);
    this.onchange();
  }

  goTo(index) {
    this.apply(this.keys[index]);
  }

  apply({ position, quaternion, fov, time }) {
    const pose = new THREE.Matrix4().compose(position, quaternion, new THREE.Vector3(1, 1, 1));
    const forward = new THREE.Vector3(0, 0, -1).applyQuaternion(quaternion);
    this.stage.setLens(null);
    this.stage.fov = fov;
    this.controls.setPose(pose, position.clone().addScaledVector(forward, this.controls.distance));
    this.player.seek(time);
  }

  /** The camera at u in [0, 1]; keys are evenly spaced. */
  at(u) {
    const { keys } = this;
    const last = keys.length - 1;
    const x = u * last;
    const left = Math.min(Math.floor(x), Math.max(last - 1, 0));
    const [a, b] = [keys[left], keys[Math.min(left + 1, last)]];
    const part = x - left;
    const curve = new THREE.CatmullRomCurve3(keys.map((key) => key.position));
    return {
      position: last > 0 ? curve.getPoint(u) : a.position.clone(),
      quaternion: a.quaternion.clone().slerp(b.quaternion, part),
      fov: a.fov + (b.fov - a.fov) * part,
      time: a.time + (b.time - a.time) * part,
    };
  }

  preview(isOn) {
    this.player.pause();
    this.playing = isOn && this.keys.length > 1 ? 0 : null;
    this.onchange();
  }

  update(elapsed) {
    if (this.playing === null) return;
    this.playing += elapsed;
    const u = Math.min(this.playing / this.seconds, 1);
    this.apply(this.at(u));
    if (u === 1) this.preview(false);
  }

  entry({ position, quaternion, fov, time }) {
    const pose = new THREE.Matrix4().compose(position, quaternion, new THREE.Vector3(1, 1, 1));
    return { camera_to_world: rowMajor(this.world.capture(pose)), fov, aspect: this.width / this.height, render_time: time };
  }

  /** The file: poses are camera to world with OpenGL axes in the capture's world, times are seconds. */
  json() {
    const count = Math.max(Math.round(this.seconds * this.fps), 2);
    const frames = this.keys.length > 1 ? Array.from({ length: count }, (_, i) => this.at(i / (count - 1))) : this.keys;
    return {
      camera_type: "perspective",
      render_width: this.width,
      render_height: this.height,
      fps: this.fps,
      seconds: this.seconds,
      camera_path: frames.map((frame) => this.entry(frame)),
      keyframes: this.keys.map((key) => this.entry(key)),
    };
  }
}
