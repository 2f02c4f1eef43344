// Print the report of Khronos' validator on glTF files: node validate.mjs FILE...
import { readFileSync } from 'node:fs';
import validator from 'gltf-validator';

const reports = [];
for (const file of process.argv.slice(2)) {
    const report = await validator.validateBytes(new Uint8Array(readFileSync(file)), { maxIssues: 100 });
    reports.push({ issues: report.issues, info: report.info });
}
console.log(JSON.stringify(reports));
