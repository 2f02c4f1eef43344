// Load an SPZ file with Niantic's and Adobe's library, print its numbers, and write it again: node spz.mjs FILE OUTPUT VERSION
import { readFileSync, writeFileSync } from 'node:fs';
import createSpzModule from '@adobe/spz';

const [file, output, version] = process.argv.slice(2);
const spz = await createSpzModule({ print: () => {} }); // it talks
const RUB = spz.CoordinateSystem.RUB; // the file's own: right, up, back
const cloud = spz.loadSpzFromBuffer(new Uint8Array(readFileSync(file)), { to: RUB });
writeFileSync(output, spz.saveSpzToBuffer(cloud, { version: Number(version), from: RUB, sh1Bits: 5, shRestBits: 4 }));
const names = ['positions', 'rotations', 'scales', 'alphas', 'colors'];
console.log(JSON.stringify(Object.fromEntries(names.map((name) => [name, Array.from(cloud[name])]))));
