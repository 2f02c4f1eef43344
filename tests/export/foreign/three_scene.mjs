// Load a GLB with three's loaders, play its animation, and print what is visible: node three_scene.mjs FILE SECONDS...
import { readFileSync } from 'node:fs';
import { AnimationMixer } from 'three';
import { GLTFLoader } from 'three/addons/loaders/GLTFLoader.js';
import { GLTFGaussianSplatLoaderExtension } from 'three/addons/loaders/GLTFGaussianSplatLoaderExtension.js';

const [file, ...times] = process.argv.slice(2);
const data = readFileSync(file);
const loader = new GLTFLoader();
loader.register((parser) => new GLTFGaussianSplatLoaderExtension(parser));
const gltf = await loader.parseAsync(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength), '');
const mixer = new AnimationMixer(gltf.scene);
gltf.animations.forEach((clip) => mixer.clipAction(clip).play());

const seen = [];
for (const time of times.map(Number)) {
    mixer.setTime(time);
    gltf.scene.updateMatrixWorld(true);
    const parts = [];
    gltf.scene.traverse((node) => {
        if (!node.geometry || node.matrixWorld.determinant() === 0) return;
        const attributes = Object.entries((node.splatGeometry ?? node.geometry).attributes).map(([name, a]) => [name, { size: a.itemSize, values: Array.from(a.array) }]);
        parts.push({
            matrix: node.matrixWorld.elements,
            attributes: Object.fromEntries(attributes),
            influences: Array.from(node.morphTargetInfluences ?? []),
        });
    });
    seen.push({ time, parts });
}
console.log(JSON.stringify({ duration: Math.max(0, ...gltf.animations.map((clip) => clip.duration)), seen }));
