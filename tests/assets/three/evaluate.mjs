// Vertex positions of glTF files by three.js, without a browser. Reads jobs {file, animation, times} as a JSON array from
// stdin; writes for each job and time a list of {node, primitive, positions}, in the file's world.
import { readFileSync } from "node:fs";
import { AnimationMixer, LoopOnce, Vector3 } from "three";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";

globalThis.self = globalThis; // the loader expects a browser

// The file without materials and images, which only a browser could decode.
function geometryOnly(path) {
  const data = readFileSync(path);
  const jsonLength = data.readUInt32LE(12);
  const json = JSON.parse(data.toString("utf8", 20, 20 + jsonLength));
  for (const table of ["materials", "textures", "images", "samplers"]) delete json[table];
  for (const mesh of json.meshes) for (const primitive of mesh.primitives) delete primitive.material;
  const text = Buffer.alloc(jsonLength, " "); // the JSON became shorter; with spaces behind it the lengths stay
  text.write(JSON.stringify(json));
  return new Uint8Array(Buffer.concat([data.subarray(0, 20), text, data.subarray(20 + jsonLength)])).buffer;
}

function positionsOf(scene, associations) {
  const found = [];
  const point = new Vector3();
  scene.updateMatrixWorld(true);
  scene.traverse((object) => {
    if (!object.isMesh) return;
    let holder = object;
    while (associations.get(holder)?.nodes === undefined) holder = holder.parent;
    const positions = [];
    for (let i = 0; i < object.geometry.attributes.position.count; i++) {
      object.getVertexPosition(i, point).applyMatrix4(object.matrixWorld);
      positions.push(point.x, point.y, point.z);
    }
    found.push({ node: associations.get(holder).nodes, primitive: associations.get(object).primitives ?? 0, positions });
  });
  return found;
}

async function evaluate({ file, animation, times }) {
  const gltf = await new GLTFLoader().parseAsync(geometryOnly(file), "");
  const mixer = new AnimationMixer(gltf.scene);
  if (gltf.animations.length) {
    const action = mixer.clipAction(gltf.animations[animation]);
    action.setLoop(LoopOnce);
    action.clampWhenFinished = true;
    action.play();
  }
  return times.map((time) => {
    for (const clip of gltf.animations) mixer.existingAction(clip)?.reset(); // a finished action would not move again
    mixer.setTime(time);
    return positionsOf(gltf.scene, gltf.parser.associations);
  });
}

const results = [];
for (const job of JSON.parse(readFileSync(0, "utf8"))) results.push(await evaluate(job));
process.stdout.write(JSON.stringify(results));
