// Reads splat files with libraries of other people, and writes what they found as JSON: node foreign.mjs LIBRARY IN OUT
// Fields: means, quats (wxyz), scales, opacities, colors; of moving splats also velocities, centers and widths.
import { readFileSync, writeFileSync } from "node:fs";

const SH_C0 = 0.28209479177387814;
const [library, input, output] = process.argv.slice(2);
const bytes = new Uint8Array(readFileSync(input));
const group = (flat, size) => Array.from({ length: flat.length / size }, (_, i) => Array.from(flat.slice(i * size, (i + 1) * size)));

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? sign * (fraction ? NaN : Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

async function spz() {
  process.type = "renderer"; // @spz-loader/core is bundled for browsers: its branch for node does not run
  globalThis.window ??= globalThis;
  const { loadSpz } = await import("@spz-loader/core");
  const cloud = await loadSpz(bytes);
  return {
    means: group(cloud.positions, 3),
    quats: group(cloud.rotations, 4).map(([x, y, z, w]) => [w, x, y, z]),
    scales: group(cloud.scales, 3), // it returns all values as they are rendered
    opacities: Array.from(cloud.alphas),
    colors: group(cloud.colors.map((c) => 0.5 + ((c - 0.5) / 0.282) * SH_C0), 3), // it rounds SH_C0
  };
}

// gsplat.js unpacks the container; its vertex shader then takes the words of the texture apart as here
async function splatv() {
  const { Scene, SplatvLoader } = await import("gsplat");
  const { data } = SplatvLoader._ParseSplatvBuffer(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length), new Scene(), null);
  const words = data.data, floats = new Float32Array(words.buffer), found = { means: [], quats: [], scales: [], opacities: [], colors: [], velocities: [], centers: [], widths: [] };
  const pair = (word) => [half(word & 0xffff), half(word >>> 16)];
  for (let i = 0; i < data.vertexCount; i++) {
    const w = words.slice(16 * i, 16 * i + 16), [center, width] = pair(w[15]), rgba = [0, 8, 16, 24].map((s) => ((w[7] >>> s) & 255) / 255);
    if (width === 0) continue; // fills the texture up
    found.means.push(Array.from(floats.slice(16 * i, 16 * i + 3)));
    found.quats.push([...pair(w[3]), ...pair(w[4])]);
    found.scales.push([...pair(w[5]), pair(w[6])[0]]);
    found.opacities.push(rgba[3]);
    found.colors.push(rgba.slice(0, 3));
    found.velocities.push([...pair(w[8]), pair(w[9])[0]]);
    found.centers.push(center);
    found.widths.push(width);
  }
  return found;
}

const read = { "gsplat": splatv, "@spz-loader/core": spz }[library];
writeFileSync(output, JSON.stringify(await read()));
