import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "..", "..");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const listed = [
  ...read("docs/bounds.md").matchAll(/^\| .+ \| `(\w+) = (.+)` \| `([\w/.-]+)` \| .+ \|$/gm),
].map(([, name = "", value = "", path = ""]) => ({ name, value, path }));

/** Sizes of single values and arithmetic limits: nothing grows up to them. */
const NO_LISTS = new Set([
  "bot/format/flanking.ts MAX_WORD",
  "gateway/store/change.ts MAX_SEARCHES",
  "lib/buffer-pool.ts MAX_WASTE",
  "lib/clock.ts MAX_TIMER_MS",
  "lib/frames.ts MAX_HEADER_BYTES",
  "lib/frames.ts MAX_REASON_BYTES",
  "lib/process-record.ts MAX_POLL_MS",
  "runtime/saturation.ts MAX_GAP_MS",
]);

test("every bound on the page stands in the code with that value", () => {
  expect(listed.length).toBeGreaterThan(60);
  const wrong = listed.filter(
    ({ name, value, path }) => !read(path).includes(`const ${name} = ${value};`),
  );
  expect(wrong).toEqual([]);
});

test("every bound between client and app-server stands on the page", () => {
  const files = ["gateway", "bot", "runtime", "node-host", "lib", "cli/chat"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.startsWith("echo"))
      .map((name) => `${folder}/${name}`),
  );
  const known = new Set(listed.map(({ path, name }) => `${path} ${name}`));
  const missing = files
    .flatMap((path) =>
      [...read(path).matchAll(/^(?:export )?const (MAX_\w+|\w+_ENTRIES|RING_BYTES) =/gm)].map(
        ([, name]) => `${path} ${name}`,
      ),
    )
    .filter((bound) => !known.has(bound) && !NO_LISTS.has(bound));
  expect(missing).toEqual([]);
});
