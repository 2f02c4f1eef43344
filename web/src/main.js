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

  /** The first view: in front of the scene, or through the first input camera. */
  const reset = () => {
    const center = new THREE.Vector3(...header.center);
    stage.setLens(null);
    stage.fov = 40;
    const way = new THREE.Vector3(0.25, 0.3, 1).applyQuaternion(new THREE.Quaternion().setFromUnitVectors(new THREE.Vector3(0, 1, 0), controls.up));
    if (frusta.poses.length && controls.up.y === 1) way.setFromMatrixPosition(frusta.poses[0]).sub(center);
    const narrow = Math.min(1, stage.canvas.clientWidth / stage.canvas.clientHeight);
    const distance = (1.25 * header.radius) / Math.sin((stage.fov / 2) * (Math.PI / 180)) / narrow;
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
