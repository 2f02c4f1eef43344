// The page: reads the scene, builds the player, and exposes `window.viewer` to scripts and tests.

import * as THREE from "three";
import { Controls } from "./controls.js";
import { CropBox } from "./crop.js";
import { Frusta } from "./frusta.js";
import { CameraPath } from "./path.js";
import { readPage } from "./payload.js";
import { Player } from "./player.js";
import { Recorder } from "./record.js";
import { SplatScene } from "./scene.js";
import { Stage } from "./stage.js";
import { buildInterface, fileName, showError, showProgress } from "./ui.js";
import { World } from "./world.js";

async function main() {
  showProgress(0.1);
  await nextPaint();
  const { header, blocks } = readPage();
  document.title = header.title || "chronosplat";
  showProgress(0.3);
  const stage = new Stage(document.getElementById("canvas"), header);
  const world = new World(header.world);
  const splats = new SplatScene(header, blocks);
  await splats.load((part) => showProgress(0.3 + 0.6 * part));
  const controls = new Controls(stage, header.radius);
  const player = new Player(splats, header);
  const frusta = new Frusta(header, world, controls, stage);
  const crop = new CropBox(splats, stage, world, header, document.getElementById("overlay"));
  const path = new CameraPath(stage, controls, player, world);
  const recorder = new Recorder(stage, fileName(header));
  splats.onchange = () => stage.invalidate();
  stage.scene.add(splats.object);
  stage.updaters.push((elapsed) => player.update(elapsed));

  /** The first view: the whole scene, from a little right of and above the first input camera, else the front. */
  const reset = () => {
    const center = new THREE.Vector3(...header.center);
    stage.setLens(null);
    stage.fov = 40;
    const upright = new THREE.Quaternion().setFromUnitVectors(new THREE.Vector3(0, 1, 0), controls.up);
    const way = new THREE.Vector3(0, 0, 1).applyQuaternion(upright);
    if (frusta.poses.length) way.setFromMatrixPosition(frusta.poses[0]).sub(center);
    way.addScaledVector(controls.up, -way.dot(controls.up));
    if (way.lengthSq() < 1e-12) way.set(1, 0, 0).applyQuaternion(upright);
    way.applyAxisAngle(controls.up, 0.5).setLength(1).addScaledVector(controls.up, 0.3);
    const narrow = Math.min(1, stage.canvas.clientWidth / stage.canvas.clientHeight);
    const distance = (1.15 * header.radius) / Math.sin((stage.fov / 2) * (Math.PI / 180)) / narrow;
    controls.lookAt(way.setLength(distance).add(center), center);
  };
  reset();
  const viewer = { header, stage, splats, controls, player, frusta, crop, path, recorder, reset };
  buildInterface(viewer);
  await player.seek(player.first);
  stage.start();
  viewer.settled = async () => {
    for (let quiet = 0; quiet < 3; ) {
      await new Promise((resolve) => requestAnimationFrame(resolve));
      quiet = stage.isSettled ? quiet + 1 : 0;
    }
  };
  window.viewer = viewer;
  await viewer.settled();
  showProgress(1);
}

const nextPaint = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));

main().catch((error) => {
  showError(`The scene cannot be shown: ${error.message}`);
  throw error;
});
