import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { methodNames } from "#gateway/argus-methods.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { blocksOf } from "#test/support/page-blocks.ts";

const PAGE = "docs/clients.md";
const page = readFileSync(join(import.meta.dirname, "..", "..", PAGE), "utf8");

test("the page lists every method, and no other", () => {
  const cells = [...page.matchAll(/^\| (`argus\/[^|]+)\|/gm)].map(([, cell = ""]) => cell);
  const listed = cells.flatMap((cell) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name),
  );
  const elsewhere = methodNames.filter((name) => name.startsWith("argus/node/"));
  expect([...listed, ...elsewhere].toSorted()).toEqual(methodNames.toSorted());
});

test("its request is accepted, and a repeat is the same message", async () => {
  const [request = ""] = blocksOf(PAGE, "sh");
  const rig = await GatewayRig.start();
  try {
    rig.putSession("main");
    const env = { PATH: process.env.PATH ?? "", ARGUS_URL: rig.url, ARGUS_TOKEN: ADMIN };
    const run = () => promisify(execFile)("sh", ["-c", request], { env });
    const first = JSON.parse((await run()).stdout).result;
    expect(first).toMatchObject({ ok: true, repeated: false });
    const again = JSON.parse((await run()).stdout).result;
    expect(again).toMatchObject({ inputId: first.inputId, repeated: true });
  } finally {
    await rig.stop();
  }
});
