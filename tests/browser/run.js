// Runs the test files one after the other: `npm test`, or `node run.js monitor webrtc` for some of them.
//
// A file that fails is run once more: real servers, cameras and browsers on a shared machine may have a bad second. Its
// first failure stays in the output and is named at the end (docs/decisions/038-reruns.md). RERUNS=0: none is.

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL("test", import.meta.url));
const RERUNS = Number(process.env.RERUNS ?? 1);
const TEST_MS = 300_000; // of one test, on a busy machine

const named = process.argv.slice(2);
const files = readdirSync(FOLDER).filter((file) => file.endsWith(".test.js")).sort();
const chosen = named.length > 0 ? files.filter((file) => named.includes(file.replace(".test.js", ""))) : files;

/** Whether all tests of a file pass. @param {string} file */
function passes(file) {
  const words = ["--test", "--test-reporter=spec", `--test-timeout=${TEST_MS}`, join(FOLDER, file)];
  return spawnSync(process.execPath, words, { stdio: "inherit" }).status === 0;
}

/** @type {string[]} */ const again = [];
/** @type {string[]} */ const failed = [];
for (const file of chosen) {
  let well = passes(file);
  for (let tries = 0; !well && tries < RERUNS; tries += 1) {
    console.log(`\n${file} failed, see above; it is run once more\n`);
    again.push(file);
    well = passes(file);
  }
  if (!well) failed.push(file);
}
console.log(`\n${chosen.length} files, ${failed.length} failed${failed.map((file) => `\n  FAILED ${file}`).join("")}`);
for (const file of again) console.log(`  RERUN ${file}: its first run failed, see above`);
process.exitCode = failed.length > 0 || chosen.length === 0 ? 1 : 0;
