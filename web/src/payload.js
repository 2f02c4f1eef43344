// The scene's bytes: base64 and deflate to the records that the GPU reads (docs/viewer.md, "Data").

export function bytesOf(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export async function inflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export async function floatsOf(text) {
  return new Float32Array((await inflate(bytesOf(text))).buffer);
}

/** The header, and the compressed blocks; their text leaves the document. */
export function readPage() {
  const header = JSON.parse(document.getElementById("scene").textContent);
  if (header.version !== 1) throw new Error(`made for another version of this page (${header.version})`);
  const elements = [...document.querySelectorAll("script.block")];
  const blocks = elements.map((element, index) => {
    const [count, channels] = header.blocks[index];
    const bytes = bytesOf(element.textContent);
    element.remove();
    return { count, channels, bytes };
  });
  return { header, blocks };
}

/** Unpack a block: `stride` 32-bit words for each Gaussian. */
export async function unpack({ count, channels, bytes }, stride) {
  const planes = await inflate(bytes);
  const words = new Uint32Array(count * stride);
  let [before, now] = [new Uint32Array(count), new Uint32Array(count)]; // the channel before, and this one
  let at = 0;
  for (const [bits, word, shift, differences] of channels) {
    const mask = 2 ** bits - 1;
    let sum = 0; // of differences to the Gaussian before
    for (let i = 0; i < count; i++) {
      let q = planes[at + i];
      if (bits > 8) q |= planes[at + count + i] << 8;
      if (bits > 16) q |= planes[at + 2 * count + i] << 16;
      if (differences) q = (q >>> 1) ^ -(q & 1); // zigzag: 0, -1, 1, -2, ...
      if (differences & 1) q = sum += q;
      if (differences & 2) q += before[i];
      now[i] = q & mask;
      words[i * stride + word] |= now[i] << shift;
    }
    at += Math.ceil(bits / 8) * count;
    [before, now] = [now, before];
  }
  return words;
}

export const ROWS = 16;

/** low and step of each row of the shader's table. */
export function rowsOf({ channels }) {
  const table = new Float32Array(ROWS * 4);
  for (const [, , , , row, low, step] of channels) if (row >= 0) table.set([low, step], 4 * row);
  return table;
}
