// Builds ../src/chronosplat/viewer/page.html: the page without a scene. `npm ci && npm run build`
// Another target: node build.js FILE

import { readFile, writeFile } from "node:fs/promises";
import { deflateSync } from "node:zlib";
import { build } from "esbuild";

const here = new URL("./", import.meta.url);
const target = process.argv[2] ?? new URL("../src/chronosplat/viewer/page.html", here);
const PARTS = ["three", "@sparkjsdev/spark", "fflate"];

const bundle = await build({
  entryPoints: [new URL("src/main.js", here).pathname],
  bundle: true,
  format: "iife",
  minify: true,
  target: "es2022",
  legalComments: "none", // the licences stand in the page, in full
  write: false,
});
const program = bundle.outputFiles[0].contents;
const styles = await build({ entryPoints: [new URL("src/style.css", here).pathname], minify: true, write: false });

const licences = await Promise.all(
  PARTS.map(async (name) => {
    const folder = new URL(`node_modules/${name}/`, here);
    const { version, license } = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
    return `${name} ${version} (${license})\n\n${(await readFile(new URL("LICENSE", folder), "utf8")).trim()}`;
  }),
);
const notice = `The viewer of chronosplat (Apache-2.0). It contains:\n\n${licences.join("\n\n\n")}\n`;

const parts = {
  "/* style */": styles.outputFiles[0].text.trim(),
  "<!-- licences -->": `<!--\n${notice.replaceAll("--", "- -")}-->`,
  "/* program */": deflateSync(program, { level: 9 }).toString("base64"),
};
let page = await readFile(new URL("src/page.html", here), "utf8");
for (const [mark, text] of Object.entries(parts)) {
  if (page.split(mark).length !== 2) throw new Error(`page.html: expected ${mark} once`);
  page = page.replace(mark, () => text);
}
await writeFile(target, page);
if (!process.argv[2]) await writeFile(new URL("LICENSES", here), notice);
console.log(`${(page.length / 1e6).toFixed(2)} MB, program ${(program.length / 1e6).toFixed(2)} MB`);
