// What a first load weighs, from the build's own manifest; fails beyond the agreed bounds.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const DIST = fileURLToPath(new URL("../../backend/tollkeeper/console/dist", import.meta.url));
const MOST = { script: 200 * 1024, style: 50 * 1024, page: 150 * 1024, whole: 4 * 1024 * 1024 };

const manifest = JSON.parse(readFileSync(join(DIST, ".vite/manifest.json"), "utf8"));
const weigh = (file) => gzipSync(readFileSync(join(DIST, file)), { level: 9 }).length;

function reach(name, seen = new Set()) {
  if (seen.has(name)) return seen;
  seen.add(name);
  for (const next of manifest[name].imports ?? []) reach(next, seen);
  return seen;
}

const entry = Object.keys(manifest).find((name) => manifest[name].isEntry);
const first = reach(entry);
const sum = (files) => [...new Set(files)].reduce((total, file) => total + weigh(file), 0);
const script = sum([...first].map((name) => manifest[name].file));
const style = sum([...first].flatMap((name) => manifest[name].css ?? []));

const problems = [];
function bound(what, size, most) {
  const line = `${what.padEnd(44)} ${(size / 1024).toFixed(1).padStart(8)} kB of ${most / 1024}`;
  process.stdout.write(`${line}\n`);
  if (size > most) problems.push(line);
}
bound("first load, script, gzip", script, MOST.script);
bound("first load, style, gzip", style, MOST.style);
for (const [name, chunk] of Object.entries(manifest)) {
  if (!chunk.isDynamicEntry) continue;
  const more = [...reach(name)].filter((one) => !first.has(one)).map((one) => manifest[one].file);
  const size = sum(more);
  if (size > MOST.page / 3) bound(`then, ${name}`, size, MOST.page);
}
const all = readdirSync(DIST, { recursive: true, withFileTypes: true }).filter((file) => file.isFile());
const whole = all
  .filter((file) => !file.name.endsWith(".gz"))
  .reduce((total, file) => total + statSync(join(file.parentPath ?? file.path, file.name)).size, 0);
bound("the whole bundle, unpacked", whole, MOST.whole);
if (problems.length > 0) {
  process.stderr.write(`too large:\n${problems.join("\n")}\n`);
  process.exit(1);
}
