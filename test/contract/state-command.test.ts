import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openFileStore } from "#gateway/store/file.ts";
import { argus } from "#test/support/argus-up.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { WsClient } from "#test/support/ws-client.ts";

let rig: GatewayRig;
let folder: string;
let state: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-state-"));
  state = join(folder, "state");
  rig = await GatewayRig.start({ stateFolder: state });
});
afterEach(async () => {
  await rig.stop();
  await rm(folder, { recursive: true });
});

const ask = (...words: string[]) =>
  argus(["state", ...words, "--url", rig.url, "--token", ADMIN, "--data", folder]);
const inFolder = (...words: string[]) => argus(["state", ...words, "--folder", state]);

async function on<T>(session: string, method: string, params: object): Promise<T> {
  const client = await WsClient.connect({ url: rig.url, token: ADMIN, query: { session } });
  try {
    return (await client.request(method, params)) as T;
  } finally {
    await client.close();
  }
}

const send = (session: string, text: string) => on(session, "argus/input/enqueue", { text });
async function waiting(session: string): Promise<string[]> {
  const { inputs } = await on<{ inputs: { text: string }[] }>(session, "argus/input/list", {});
  return inputs.map(({ text }) => text);
}

test("a copy of the running gateway's state is put back into it, and never over what is in use unasked", async () => {
  rig.putSession("a");
  rig.putSession("b");
  await send("a", "first");
  await send("b", "other");
  const { stdout, code } = await ask("check");
  expect(code, stdout).toBe(0);
  expect(stdout).toMatch(/ a +\d+ +\d+ +1 +ok\n/);
  const file = join(folder, "backup");
  expect((await ask("backup", file)).stdout).toContain("3 documents");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  await send("a", "second");
  const refused = await ask("import", file, "--session", "a");
  expect(refused).toMatchObject({ code: 1, stdout: expect.stringContaining("--replace") });
  expect(await waiting("a")).toEqual(["first", "second"]);
  const put = await ask("import", file, "--session", "a", "--replace");
  expect(put).toMatchObject({ code: 0, stdout: "a: put back\n" });
  expect(await waiting("a")).toEqual(["first"]);
  await send("a", "third");
  expect(await waiting("a")).toEqual(["first", "third"]);
  expect(await waiting("b")).toEqual(["other"]);
}, 60_000);

test("a session that was made again gets the messages of its name only when that is asked for", async () => {
  rig.putSession("a");
  await send("a", "first");
  const file = join(folder, "backup");
  await ask("backup", file);
  await rig.stopGateway();
  await rm(state, { recursive: true });
  const former = rig.session("a");
  // The gateway that held it is gone with its state.
  delete former?.metadata.finalizers;
  await rig.deleteSession("a");
  rig.putSession("a");
  await rig.startGateway({ stateFolder: state });
  const without = await ask("import", file, "--session", "a");
  expect(without).toMatchObject({ code: 1, stdout: expect.stringContaining("--by-name") });
  expect(await waiting("a")).toEqual([]);
  expect(await ask("import", file, "--session", "a", "--by-name")).toMatchObject({ code: 0 });
  expect(await waiting("a")).toEqual(["first"]);
}, 60_000);

test("the folder of a gateway that does not run is read and written; a held one is not", async () => {
  rig.putSession("a");
  await send("a", "first");
  const held = await inFolder("check");
  expect(held).toMatchObject({ code: 69, stderr: expect.stringMatching(/is held by process \d+/) });
  const file = join(folder, "backup");
  await ask("backup", file);
  await rig.stopGateway();
  expect((await inFolder("check")).stdout).toMatch(/ a +\d+ +\d+ +1 +ok\n/);
  const store = await openFileStore({ folder: state }, new AbortController().signal);
  const before = (await store.read("gateway"))?.body as { epoch: number };
  await store.remove("gateway", (await store.read("gateway"))?.version ?? 0);
  await store.close();
  expect(await inFolder("import", file, "--session", "(gateway)")).toMatchObject({ code: 0 });
  await rig.startGateway({ stateFolder: state });
  const { stdout } = await ask("export", "--session", "(gateway)");
  // Bridges know higher epochs than the copy does.
  const { epoch } = JSON.parse(stdout.split("\n")[1] ?? "").body as { epoch: number };
  expect(epoch).toBeGreaterThan(before.epoch + 1000);
  expect(await waiting("a")).toEqual(["first"]);
}, 60_000);

test("a damaged document is named, and its copy needs no leave to be put back", async () => {
  rig.putSession("a");
  rig.putSession("b");
  await send("a", "text of a ".repeat(3000));
  await send("b", "other");
  const file = join(folder, "backup");
  await ask("backup", file);
  await rig.stopGateway();
  const compact = await openFileStore({ folder: state }, new AbortController().signal);
  const uid = rig.session("a")?.metadata.uid ?? "";
  await compact.overwrite(uid, (await compact.read(uid))?.body);
  await compact.close();
  const bytes = await readFile(join(state, "state.db"));
  bytes.fill(
    0,
    bytes.lastIndexOf("text of a text of a"),
    bytes.lastIndexOf("text of a text of a") + 64,
  );
  await writeFile(join(state, "state.db"), bytes);
  await rig.startGateway({ stateFolder: state });
  const { code, stdout } = await ask("check");
  expect(code).toBe(1);
  expect(stdout).toMatch(/ a .+ fails its checksum/);
  expect(stdout).toContain("1 that cannot be used");
  expect(await ask("backup", join(folder, "less"))).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("left out: a: "),
  });
  expect(await ask("import", file, "--session", "a")).toMatchObject({ code: 0 });
  expect(await waiting("a")).toHaveLength(1);
  expect((await ask("check")).code).toBe(0);
}, 60_000);

test("a copy that is cut or changed is refused whole", async () => {
  rig.putSession("a");
  await send("a", "first");
  const { stdout: whole } = await ask("export");
  const lines = whole.split("\n");
  const broken = {
    cut: lines.slice(0, -2).join("\n"),
    changed: whole.replace("first", "other"),
    short: [lines[0], lines.at(-2)].join("\n"),
    "no copy": "hello\n",
  };
  for (const [name, text] of Object.entries(broken)) {
    const file = join(folder, "broken");
    await writeFile(file, text);
    const refused = await ask("import", file, "--replace");
    expect(refused.code, name).toBe(65);
    expect(refused.stderr, name).toMatch(/The file cannot be used: .+ Nothing was written\./);
  }
  const client = await ask("check", "--json");
  expect(JSON.parse(client.stdout)).toHaveLength(2);
}, 60_000);

test("the state is the admin's alone", async () => {
  const answers = await Promise.all(
    ["/state/documents", "/state/documents/gateway"].map((path) => fetch(`${rig.url}${path}`)),
  );
  expect(answers.map(({ status }) => status)).toEqual([401, 401]);
});
