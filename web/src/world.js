// The scene's own world, in which the page works, and the capture's, which people know.

import * as THREE from "three";

export class World {
  /** matrix: 16 numbers, row-major, from the scene's own world to the capture's: a similarity. */
  constructor(matrix) {
    this.matrix = new THREE.Matrix4().set(...matrix);
    this.scale = Math.cbrt(this.matrix.determinant());
    this.rotation = new THREE.Matrix4().extractRotation(this.matrix);
    this.inverse = this.matrix.clone().invert();
    this.back = this.rotation.clone().transpose();
  }

  /** A camera-to-world pose (OpenGL axes) of the capture as one of the scene's own world. */
  local(pose) {
    return rigid(this.inverse, this.back, pose);
  }

  /** The other way round. */
  capture(pose) {
    return rigid(this.matrix, this.rotation, pose);
  }
}

function rigid(similarity, rotation, pose) {
  const position = new THREE.Vector3().setFromMatrixPosition(pose).applyMatrix4(similarity);
  return rotation.clone().multiply(new THREE.Matrix4().extractRotation(pose)).setPosition(position);
}

/** A matrix as 16 numbers, row by row. */
export function rowMajor(matrix) {
  return matrix.clone().transpose().toArray();
}
