// Catmull-Rom splines through knots, and the motion of nodes; the same as chronosplat.scenes.deformable.

/** Weights of the knots' values at a time, as [knot, weight] pairs. Tangents inside are those of the parabola through three knots. */
export function splineWeights(knots, seconds) {
  const count = knots.length;
  if (count === 1) return [[0, 1]];
  const t = Math.min(Math.max(seconds, knots[0]), knots[count - 1]);
  let left = 0;
  while (left < count - 2 && knots[left + 1] <= t) left++;
  const width = knots[left + 1] - knots[left];
  const u = (t - knots[left]) / width;
  const weights = new Map();
  const add = (knot, weight) => weights.set(knot, (weights.get(knot) ?? 0) + weight);
  add(left, u * u * (2 * u - 3) + 1);
  add(left + 1, u * u * (3 - 2 * u));
  for (const [knot, slope] of [[left, u * (u - 1) ** 2], [left + 1, u * u * (u - 1)]]) {
    for (const [other, weight] of tangent(knots, knot)) add(other, width * slope * weight);
  }
  return [...weights];
}

function tangent(knots, i) {
  const last = knots.length - 1;
  const before = knots[i] - knots[i - 1];
  const after = knots[i + 1] - knots[i];
  if (i === 0) return [[0, -1 / after], [1, 1 / after]];
  if (i === last) return [[last - 1, -1 / before], [last, 1 / before]];
  return [
    [i - 1, -after / (before * (before + after))],
    [i, (after - before) / (before * after)],
    [i + 1, before / (after * (before + after))],
  ];
}

/** Mix rows of `width` numbers: sum of weight * values[knot]. */
export function mix(values, width, weights) {
  const out = new Float64Array(width);
  for (const [knot, weight] of weights) {
    for (let k = 0, at = knot * width; k < width; k++) out[k] += weight * values[at + k];
  }
  return out;
}

/** Rotation (xyzw) and offset of each node: two texels. A point p goes to R p + offset. */
export function placeNodes(rest, motion, count, weights, out) {
  const pose = mix(motion, 6 * count, weights);
  for (let k = 0; k < count; k++) {
    const [sx, sy, sz, tx, ty, tz] = pose.subarray(6 * k, 6 * k + 6);
    const [rx, ry, rz] = rest.subarray(3 * k, 3 * k + 3);
    const angle = Math.hypot(tx, ty, tz);
    const sine = angle < 1e-8 ? 0.5 : Math.sin(angle / 2) / angle;
    const [x, y, z, w] = [sine * tx, sine * ty, sine * tz, Math.cos(angle / 2)];
    const [ux, uy, uz] = [2 * (y * rz - z * ry), 2 * (z * rx - x * rz), 2 * (x * ry - y * rx)];
    const turned = [rx + w * ux + y * uz - z * uy, ry + w * uy + z * ux - x * uz, rz + w * uz + x * uy - y * ux];
    out.set([x, y, z, w, rx + sx - turned[0], ry + sy - turned[1], rz + sz - turned[2], 0], 8 * k);
  }
}

/** Offset and fade, and tint, of each residual group: two texels. */
export function placeGroups(residuals, count, weights, out) {
  const now = mix(residuals, 7 * count, weights);
  for (let g = 0; g < count; g++) {
    const [ox, oy, oz, tr, tg, tb, fade] = now.subarray(7 * g, 7 * g + 7);
    out.set([ox, oy, oz, Math.min(Math.max(fade, 0), 1), tr, tg, tb, 0], 8 * g);
  }
}
