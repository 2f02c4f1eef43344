// The input cameras in space: a wire pyramid each, with its small image.

import * as THREE from "three";

export class Frusta {
  constructor(header, world, controls, stage) {
    this.stage = stage;
    this.controls = controls;
    this.header = header;
    this.group = new THREE.Group();
    this.group.visible = false;
    this.poses = header.cameras.map((camera) => world.local(new THREE.Matrix4().set(...camera.pose)));
    stage.helpers.add(this.group);
    this.depth = header.radius * 0.13; // of the pyramids
    this.isBuilt = false;
    stage.beforerender.push(() => this.hideNear());
  }

  setVisible(isVisible) {
    if (isVisible && !this.isBuilt) this.build();
    this.group.visible = isVisible;
    this.stage.invalidate();
  }

  build() {
    this.isBuilt = true;
    const { header } = this;
    const { depth } = this;
    const color = new THREE.Color("#4c8dff");
    header.cameras.forEach((camera, index) => {
      const corners = cornersOf(camera.lens, header.size).map(([x, y]) => new THREE.Vector3(x * depth, y * depth, -depth));
      const apex = new THREE.Vector3();
      const lines = corners.flatMap((corner, k) => [apex, corner, corner, corners[(k + 1) % 4]]);
      const wire = new THREE.LineSegments(new THREE.BufferGeometry().setFromPoints(lines), new THREE.LineBasicMaterial({ color }));
      const holder = new THREE.Group();
      holder.matrixAutoUpdate = false;
      holder.matrix.copy(this.poses[index]);
      holder.add(wire);
      if (camera.image) holder.add(this.picture(camera.image, corners));
      this.group.add(holder);
    });
    this.group.updateMatrixWorld(true);
  }

  /** A pyramid around the camera would cover the view. */
  hideNear() {
    const apex = new THREE.Vector3();
    for (const holder of this.group.children) {
      holder.visible = apex.setFromMatrixPosition(holder.matrix).distanceTo(this.stage.camera.position) > 2 * this.depth;
    }
  }

  picture(url, corners) {
    const geometry = new THREE.BufferGeometry().setFromPoints(corners);
    geometry.setAttribute("uv", new THREE.Float32BufferAttribute([0, 1, 1, 1, 1, 0, 0, 0], 2));
    geometry.setIndex([0, 1, 2, 0, 2, 3]);
    const texture = new THREE.TextureLoader().load(url, () => this.stage.invalidate());
    texture.colorSpace = THREE.SRGBColorSpace;
    return new THREE.Mesh(geometry, new THREE.MeshBasicMaterial({ map: texture, side: THREE.DoubleSide, polygonOffset: true, polygonOffsetFactor: 2, polygonOffsetUnits: 2 }));
  }

  /** Look through an input camera, with its exact intrinsics. */
  lookThrough(index) {
    const { header } = this;
    const [fx, fy, cx, cy] = header.cameras[index].lens;
    const pose = this.poses[index];
    const position = new THREE.Vector3().setFromMatrixPosition(pose);
    const forward = new THREE.Vector3(0, 0, -1).transformDirection(pose);
    const ahead = new THREE.Vector3(...header.center).sub(position).dot(forward); // the turning point lies on the optical axis
    this.controls.setPose(pose, position.addScaledVector(forward, ahead > 0 ? ahead : header.radius));
    const [width, height] = header.size;
    this.stage.setLens({ fx, fy, cx, cy, width, height });
  }
}

/** Image corners at depth 1, clockwise from the upper left; y up. */
function cornersOf([fx, fy, cx, cy], [width, height]) {
  return [[0, 0], [width, 0], [width, height], [0, height]].map(([u, v]) => [(u - cx) / fx, (cy - v) / fy]);
}
