// The program that evaluates a Gaussian at a time on the GPU. Words and rows are those of chronosplat/viewer/blocks.py.

export const DATA_WIDTH = 2048;
export const POSE_WIDTH = 1024;

const LIBRARY = `
  float value(sampler2D rows, int row, uint q) {
    vec2 r = texelFetch(rows, ivec2(row, 0), 0).xy;
    return r.x + r.y * float(q);
  }
  // 9 bits for each of three components, and the index (wxyz) of the largest
  vec4 unpackedQuat(uint q) {
    vec3 c = (vec3(q & 511u, (q >> 9) & 511u, (q >> 18) & 511u) / 511.0 - 0.5) * 1.4142135623730951;
    float big = sqrt(max(0.0, 1.0 - dot(c, c)));
    uint largest = q >> 27;
    if (largest == 0u) return vec4(c.x, c.y, c.z, big);
    if (largest == 1u) return vec4(big, c.x, c.y, c.z);
    if (largest == 2u) return vec4(c.z, big, c.x, c.y);
    return vec4(c.y, c.z, big, c.x);
  }
  vec4 product(vec4 a, vec4 b) {
    return vec4(a.w * b.xyz + b.w * a.xyz + cross(a.xyz, b.xyz), a.w * b.w - dot(a.xyz, b.xyz));
  }
  vec3 turned(vec4 q, vec3 v) {
    return v + 2.0 * cross(q.xyz, cross(q.xyz, v) + q.w * v);
  }
  vec4 poseTexel(sampler2D poses, int k) {
    return texelFetch(poses, ivec2(k & POSE_MASK, k >> POSE_BITS), 0);
  }
  ivec2 place(int index, int texel) {
    int at = index * TEXELS + texel;
    return ivec2(at & DATA_MASK, at >> DATA_BITS);
  }
`;

const LINEAR = `
  float away = time - value(rows, 13, (b.z >> 12) & 0xfffu);
  float sigma = exp(value(rows, 14, b.w & 0xfffu));
  vec3 root = vec3(value(rows, 10, b.y & 0xfffu), value(rows, 11, (b.y >> 12) & 0xfffu), value(rows, 12, b.z & 0xfffu));
  center += sign(root) * root * root * away;
  float weight = exp(-0.5 * (away / sigma) * (away / sigma));
  rgba.a *= weight;
  shown = shown && weight >= FAINT && rgba.a >= FAINT;
`;

const SKINNED = `
  vec3 moved = vec3(0.0);
  vec4 spin = vec4(0.0);
  float total = 0.0;
  uvec4 joints = uvec4(0u);
  for (int j = 0; j < JOINTS; j++) {
    if ((j & 3) == 0) joints = texelFetch(data, place(index, 2 + (j >> 2)), 0);
    uint joint = joints[j & 3];
    int node = 2 * int(joint & 0xffffu);
    float weight = float(joint >> 16);
    vec4 turn = poseTexel(poses, node);
    moved += weight * (turned(turn, center) + poseTexel(poses, node + 1).xyz);
    spin += weight * turn;
    total += weight;
  }
  center = moved / total;
  quat = product(normalize(spin), quat);
  if (GROUPS > 0) {
    int group = 2 * (NODES + int(b.z));
    vec4 shift = poseTexel(poses, group);
    float share = value(rows, 15, b.y & 0xffu);
    center += shift.xyz;
    rgba.rgb = clamp(rgba.rgb + share * poseTexel(poses, group + 1).rgb, 0.0, 1.0);
    rgba.a *= shift.w;
  }
`;

/** Texels of a Gaussian's record. */
export function texelsOf(header) {
  return header.form === "skinned" ? 2 + Math.ceil(header.joints / 4) : 2;
}

const splat = (motion) => `
  Gsplat evaluated(usampler2D data, sampler2D rows, sampler2D poses, int index, float time, float size, float threshold, vec3 low, vec3 high) {
    uvec4 a = texelFetch(data, place(index, 0), 0), b = texelFetch(data, place(index, 1), 0);
    vec3 center = vec3(value(rows, 0, a.x & 0xffffffu), value(rows, 1, a.y & 0xffffffu), value(rows, 2, a.z & 0xffffffu));
    vec4 rgba = vec4(value(rows, 3, a.x >> 24), value(rows, 4, a.y >> 24), value(rows, 5, a.z >> 24), value(rows, 6, a.w >> 24));
    vec3 scales = exp(vec3(value(rows, 7, a.w & 0xffu), value(rows, 8, (a.w >> 8) & 0xffu), value(rows, 9, (a.w >> 16) & 0xffu)));
    vec4 quat = unpackedQuat(b.x);
    bool shown = true;
    ${motion}
    shown = shown && rgba.a >= threshold && all(greaterThanEqual(center, low)) && all(lessThanEqual(center, high));
    return Gsplat(center, shown ? GSPLAT_FLAG_ACTIVE : 0u, scales * size, index, quat, rgba);
  }
`;

/** A dyno block from index to Gsplat. `uniforms`: data, rows, poses, time, size, threshold, low, high. */
export function generator(dyno, header, uniforms) {
  const constants = {
    TEXELS: texelsOf(header),
    DATA_MASK: DATA_WIDTH - 1,
    DATA_BITS: Math.log2(DATA_WIDTH),
    POSE_MASK: POSE_WIDTH - 1,
    POSE_BITS: Math.log2(POSE_WIDTH),
    JOINTS: header.joints ?? 0,
    NODES: header.nodes ?? 0,
    GROUPS: header.groups ?? 0,
  };
  const declared = Object.entries(constants).map(([name, value]) => `const int ${name} = ${value};`);
  declared.push(`const float FAINT = ${(header.faint ?? 0).toFixed(6)};`);
  const motion = { linear: LINEAR, skinned: SKINNED }[header.form] ?? "";
  const types = { data: "usampler2D", rows: "sampler2D", poses: "sampler2D", time: "float", size: "float", threshold: "float", low: "vec3", high: "vec3" };
  return dyno.dynoBlock({ index: "int" }, { gsplat: dyno.Gsplat }, ({ index }) => {
    const one = new dyno.Dyno({
      inTypes: { index: "int", ...types },
      outTypes: { gsplat: dyno.Gsplat },
      inputs: { index, ...uniforms },
      globals: () => [dyno.defineGsplat, declared.join("\n"), LIBRARY, splat(motion)],
      statements: ({ inputs: x, outputs }) => [
        `${outputs.gsplat} = evaluated(${x.data}, ${x.rows}, ${x.poses}, ${x.index}, ${x.time}, ${x.size}, ${x.threshold}, ${x.low}, ${x.high});`,
      ],
    });
    return { gsplat: one.outputs.gsplat };
  });
}
