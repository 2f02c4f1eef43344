// The scene on the GPU: textures, and what changes them as time goes on.

import * as THREE from "three";
import { SplatGenerator, dyno } from "@sparkjsdev/spark";
import { floatsOf, rowsOf, ROWS, unpack } from "./payload.js";
import { DATA_WIDTH, POSE_WIDTH, generator, texelsOf } from "./shaders.js";
import { placeGroups, placeNodes, splineWeights } from "./spline.js";

const CACHE_BYTES = 256e6; // unpacked frames
const AHEAD = 3; // frames unpacked before they are due

export class SplatScene {
  constructor(header, blocks) {
    this.header = header;
    this.blocks = blocks;
    this.stride = 4 * texelsOf(header);
    this.unpacked = new Map(); // frame to a promise of its words, least recently used first
    this.frame = -1;
    this.wanted = -1;
    const most = Math.max(1, ...blocks.map((block) => block.count));
    const height = Math.ceil((most * this.stride) / 4 / DATA_WIDTH);
    this.words = new Uint32Array(height * DATA_WIDTH * 4);
    this.data = texture(this.words, DATA_WIDTH, height, THREE.RGBAIntegerFormat, THREE.UnsignedIntType, "RGBA32UI");
    this.rows = texture(new Float32Array(ROWS * 4), ROWS, 1);
    const poses = Math.max(1, Math.ceil((2 * ((header.nodes ?? 0) + (header.groups ?? 0))) / POSE_WIDTH));
    this.poses = texture(new Float32Array(POSE_WIDTH * poses * 4), POSE_WIDTH, poses);
    this.uniforms = {
      data: dyno.dynoUsampler2D(this.data),
      rows: dyno.dynoSampler2D(this.rows),
      poses: dyno.dynoSampler2D(this.poses),
      time: dyno.dynoFloat(0),
      size: dyno.dynoFloat(1),
      threshold: dyno.dynoFloat(0),
      low: dyno.dynoVec3(new THREE.Vector3(-1e30, -1e30, -1e30)),
      high: dyno.dynoVec3(new THREE.Vector3(1e30, 1e30, 1e30)),
    };
    this.object = new SplatGenerator({ numSplats: 0, generator: generator(dyno, header, this.uniforms) });
  }

  /** Unpack what the first picture needs. */
  async load(progress) {
    const { header } = this;
    if (header.form === "skinned") {
      this.rest = await floatsOf(header.rest);
      this.motion = await floatsOf(header.motion);
      this.residuals = header.groups ? await floatsOf(header.residuals) : null;
    }
    progress(0.4);
    await this.show(0);
    progress(1);
  }

  /** Show the scene at a time; resolves when it is on the GPU. */
  async seek(seconds) {
    const { header, uniforms } = this;
    if (header.form === "frames") {
      await this.show(nearest(header.times, seconds));
    } else if (header.form === "linear") {
      uniforms.time.value = (seconds - header.clock.offset) / header.clock.rate;
    } else if (header.form === "skinned") {
      const weights = splineWeights(header.knots, seconds);
      const out = this.poses.image.data;
      placeNodes(this.rest, this.motion, header.nodes, weights, out);
      if (header.groups) placeGroups(this.residuals, header.groups, weights, out.subarray(8 * header.nodes));
      this.poses.needsUpdate = true;
    }
    this.changed();
  }

  changed() {
    this.object.updateVersion();
    this.onchange?.();
  }

  async show(frame) {
    this.wanted = frame;
    if (frame === this.frame) return;
    const words = await this.wordsOf(frame);
    for (let k = 1; k <= Math.min(AHEAD, this.blocks.length - 1); k++) this.wordsOf((frame + k) % this.blocks.length);
    if (this.wanted !== frame) return; // another one is due by now
    this.frame = frame;
    this.words.set(words);
    this.data.needsUpdate = true;
    this.rows.image.data.set(rowsOf(this.blocks[frame]));
    this.rows.needsUpdate = true;
    this.object.numSplats = this.blocks[frame].count;
    this.object.updateMappingVersion(); // other Gaussians: they wait for their order
    this.onchange?.();
  }

  wordsOf(frame) {
    const known = this.unpacked.get(frame);
    this.unpacked.delete(frame);
    const words = known ?? unpack(this.blocks[frame], this.stride);
    this.unpacked.set(frame, words);
    const most = Math.max(AHEAD + 2, Math.floor(CACHE_BYTES / (4 * this.words.length)));
    while (this.unpacked.size > most) this.unpacked.delete(this.unpacked.keys().next().value);
    return words;
  }
}

/** Index of the nearest time; ties go to the earlier one. */
export function nearest(times, seconds) {
  let best = 0;
  times.forEach((time, index) => {
    if (Math.abs(time - seconds) < Math.abs(times[best] - seconds)) best = index;
  });
  return best;
}

function texture(array, width, height, format = THREE.RGBAFormat, type = THREE.FloatType, internal = "RGBA32F") {
  const made = new THREE.DataTexture(array, width, height, format, type);
  made.internalFormat = internal;
  made.needsUpdate = true;
  return made;
}
