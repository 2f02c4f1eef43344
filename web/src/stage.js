// The canvas: renderer, camera and lens, and a loop that renders only what changed.

import * as THREE from "three";
import { SparkRenderer } from "@sparkjsdev/spark";

const BLUR = 0.3; // square pixels that chronosplat's renderer adds to every splat

export class Stage {
  constructor(canvas, header) {
    this.canvas = canvas;
    this.header = header;
    this.lens = null; // exact intrinsics {fx, fy, cx, cy, width, height}, or none
    this.fov = 45; // vertical degrees without a lens
    this.blur = 1;
    this.frames = 0;
    this.dirty = true;
    this.updaters = [];
    this.beforerender = [];
    this.onrender = [];
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: false, preserveDrawingBuffer: true, powerPreference: "high-performance" });
    this.scene = new THREE.Scene();
    this.helpers = new THREE.Group();
    this.scene.add(this.helpers);
    this.camera = new THREE.PerspectiveCamera();
    this.spark = new SparkRenderer({
      renderer: this.renderer,
      accumExtSplats: true, // float32 positions
      preBlurAmount: BLUR,
      blurAmount: 0,
      maxStdDev: 3.33,
      minAlpha: 1 / 255,
      maxPixelRadius: 4096,
      clipXY: 3,
      sortRadial: false, // by depth, as chronosplat sorts
      enableLod: false,
      onDirty: () => this.invalidate(),
    });
    this.scene.add(this.spark);
    this.setBackground(header.background);
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
  }

  start() {
    let before = performance.now();
    const tick = (now) => {
      const elapsed = Math.min((now - before) / 1000, 0.25);
      before = now;
      for (const update of this.updaters) update(elapsed);
      if (this.dirty) this.render();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  render() {
    this.dirty = false;
    this.applyLens();
    for (const call of this.beforerender) call();
    this.renderer.render(this.scene, this.camera);
    this.frames += 1;
    for (const call of this.onrender) call();
  }

  invalidate() {
    this.dirty = true;
  }

  /** Whether the picture shows the latest splats in their right order. */
  get isSettled() {
    const { spark } = this;
    return !this.dirty && !spark.sorting && !spark.sortDirty && spark.display === spark.current;
  }

  setBackground(color) {
    this.background = color;
    this.scene.background = new THREE.Color(color);
    this.invalidate();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas.parentElement;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(width, height);
    this.invalidate();
  }

  /** Where a lens's image lies on the canvas, in CSS pixels. */
  get frame() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!this.lens) return { x: 0, y: 0, width, height, scale: 1 };
    const scale = Math.min(width / this.lens.width, height / this.lens.height);
    const [w, h] = [this.lens.width * scale, this.lens.height * scale];
    return { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h, scale };
  }

  applyLens() {
    const { camera, lens } = this;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const { radius } = this.header;
    camera.near = radius * 0.005;
    camera.far = radius * 1000;
    camera.aspect = width / height;
    camera.fov = this.fov;
    camera.updateProjectionMatrix();
    if (lens) {
      const { x, y, scale } = this.frame;
      const m = camera.projectionMatrix.elements; // column-major
      m[0] = (2 * lens.fx * scale) / width;
      m[5] = (2 * lens.fy * scale) / height;
      m[8] = 1 - (2 * (lens.cx * scale + x)) / width;
      m[9] = (2 * (lens.cy * scale + y)) / height - 1;
      camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
    }
    camera.updateMatrixWorld();
    this.spark.preBlurAmount = BLUR * this.blur * this.enlargement ** 2;
  }

  /** How much finer the canvas is than the input images, at least 1: the scene has no finer detail, and gaps would show. */
  get enlargement() {
    const input = this.header.cameras[0];
    const focal = (this.camera.projectionMatrix.elements[5] * this.canvas.height) / 2;
    return input ? Math.max(1, focal / input.lens[1]) : 1;
  }

  /** Look through exact intrinsics. */
  setLens(lens) {
    this.lens = lens;
    this.invalidate();
  }

  /** A free camera with about the same field of view. */
  dropLens() {
    if (!this.lens) return;
    this.fov = (2 * Math.atan(1 / this.camera.projectionMatrix.elements[5]) * 180) / Math.PI;
    this.setLens(null);
  }

  /** The picture as a PNG, without cameras and boxes. */
  snapshot() {
    const shown = this.helpers.visible;
    this.helpers.visible = false;
    this.render();
    const picture = new Promise((resolve) => this.canvas.toBlob(resolve, "image/png"));
    this.helpers.visible = shown;
    this.invalidate();
    return picture;
  }
}
