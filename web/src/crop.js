// A box that measures, and hides the splats outside.

import * as THREE from "three";

const AXES = ["x", "y", "z"];

export class CropBox {
  constructor(splats, stage, world, header, overlay) {
    this.splats = splats;
    this.stage = stage;
    this.world = world;
    const middle = new THREE.Vector3(...header.center);
    const half = new THREE.Vector3(1, 1, 1).multiplyScalar(header.radius * 0.8);
    this.whole = new THREE.Box3(middle.clone().sub(half), middle.clone().add(half));
    this.box = this.whole.clone();
    this.isOn = false;
    this.hides = true;
    this.lines = new THREE.Box3Helper(this.box, new THREE.Color("#ff9d3c"));
    this.lines.visible = false;
    stage.helpers.add(this.lines);
    this.labels = AXES.map(() => overlay.appendChild(Object.assign(document.createElement("div"), { className: "measure" })));
    this.handles = [0, 1, 2, 3, 4, 5].map((side) => this.handle(side, overlay));
    stage.onrender.push(() => this.place());
    this.onchange = () => {};
  }

  handle(side, overlay) {
    const element = overlay.appendChild(Object.assign(document.createElement("button"), { className: "handle", type: "button" }));
    element.setAttribute("aria-label", `Move the box's ${side < 3 ? "lower" : "upper"} ${AXES[side % 3]} side`);
    element.addEventListener("pointerdown", (event) => {
      element.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    element.addEventListener("pointermove", (event) => {
      if (element.hasPointerCapture(event.pointerId)) this.drag(side, event.movementX, event.movementY);
    });
    element.addEventListener("keydown", (event) => {
      const sign = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
      if (!sign) return;
      event.preventDefault();
      event.stopPropagation();
      this.setSide(side, this.sideOf(side) + sign * 0.01 * this.whole.getSize(new THREE.Vector3()).x);
    });
    return element;
  }

  sideOf(side) {
    return (side < 3 ? this.box.min : this.box.max).getComponent(side % 3);
  }

  setSide(side, value) {
    const { min, max } = this.box;
    const axis = side % 3;
    if (side < 3) min.setComponent(axis, Math.min(value, max.getComponent(axis)));
    else max.setComponent(axis, Math.max(value, min.getComponent(axis)));
    this.apply();
  }

  /** Move a side along its axis, as far as the pointer moved along the axis's image. */
  drag(side, dx, dy) {
    const at = this.middleOf(side);
    const unit = new THREE.Vector3().setComponent(side % 3, 0.01);
    const [x0, y0] = this.project(at.clone());
    const [x1, y1] = this.project(at.clone().add(unit));
    const length = (x1 - x0) ** 2 + (y1 - y0) ** 2;
    if (length > 1e-9) this.setSide(side, this.sideOf(side) + (0.01 * (dx * (x1 - x0) + dy * (y1 - y0))) / length);
  }

  middleOf(side) {
    return this.box.getCenter(new THREE.Vector3()).setComponent(side % 3, this.sideOf(side));
  }

  /** Pixels on the canvas, and whether the point is in front of the camera. */
  project(point) {
    const { camera, canvas } = this.stage;
    const p = point.applyMatrix4(camera.matrixWorldInverse);
    const isAhead = p.z < 0;
    p.applyMatrix4(camera.projectionMatrix);
    return [((p.x + 1) / 2) * canvas.clientWidth, ((1 - p.y) / 2) * canvas.clientHeight, isAhead];
  }

  /** Edge lengths in the capture's units. */
  get dimensions() {
    return this.box.getSize(new THREE.Vector3()).multiplyScalar(this.world.scale).toArray();
  }

  toggle(isOn) {
    this.isOn = isOn;
    this.apply();
  }

  reset() {
    this.box.copy(this.whole);
    this.apply();
  }

  apply() {
    const { low, high } = this.splats.uniforms;
    const isCutting = this.isOn && this.hides;
    low.value.copy(isCutting ? this.box.min : new THREE.Vector3(-1e30, -1e30, -1e30));
    high.value.copy(isCutting ? this.box.max : new THREE.Vector3(1e30, 1e30, 1e30));
    this.lines.visible = this.isOn;
    this.splats.changed();
    this.onchange();
  }

  place() {
    const { min, max } = this.box;
    this.handles.forEach((element, side) => put(element, this.isOn && this.project(this.middleOf(side))));
    this.labels.forEach((element, axis) => {
      const point = min.clone();
      point.setComponent((axis + 1) % 3, axis === 1 ? max.getComponent(2) : min.getComponent((axis + 1) % 3));
      point.setComponent(axis, (min.getComponent(axis) + max.getComponent(axis)) / 2);
      element.textContent = `${AXES[axis]} ${significant(this.dimensions[axis])}`;
      put(element, this.isOn && this.project(point));
    });
  }
}

function put(element, at) {
  element.hidden = !at || !at[2];
  if (!element.hidden) element.style.transform = `translate(${at[0]}px, ${at[1]}px) translate(-50%, -50%)`;
}

/** Three significant digits. */
export function significant(value) {
  return Number(value.toPrecision(3)).toString();
}
