import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { AddressPool } from "#localcluster/kubelet/addresses.ts";
import type { ContainerWorld } from "#localcluster/kubelet/container-plan.ts";
import { MAX_LOG_BYTES } from "#localcluster/kubelet/log-file.ts";
import { LineCutter, lastLines, renderLines } from "#localcluster/kubelet/log-lines.ts";
import { LogStore } from "#localcluster/kubelet/log-store.ts";
import type { Keyed, Pod, Volume } from "#localcluster/kubelet/pod.ts";
import { sameFiles, showFiles } from "#localcluster/kubelet/projected-folder.ts";
import { volumeFiles, volumeTokens } from "#localcluster/kubelet/projection.ts";
import { RunRecords } from "#localcluster/kubelet/run-records.ts";

const folder = () => mkdtempSync(join(tmpdir(), "argus-kubelet-"));
const pod: Pod = { metadata: { name: "p", uid: "u", namespace: "ns" }, spec: { containers: [] } };
const world: ContainerWorld = {
  podIp: "127.77.0.1",
  hostIp: "127.0.0.1",
  nodeName: "local",
  mappings: [],
  environment: {},
  binFolder: "/bin",
  keyed: new Map<string, Keyed>([
    ["secrets/s", { metadata: { name: "s" }, data: { k: "dmFsdWU=" } }],
    [
      "configmaps/c",
      { metadata: { name: "c" }, data: { "a.pem": "A" }, binaryData: { b: "AAE=" } },
    ],
  ]),
};
const shown = (volume: Volume) =>
  Object.fromEntries(
    [...volumeFiles(pod, volume, world)].map(([path, { content }]) => [path, content.toString()]),
  );

test("secrets, config maps and fields become files", () => {
  expect(shown({ name: "v", secret: { secretName: "s" } })).toEqual({ k: "value" });
  expect(shown({ name: "v", configMap: { name: "c" } })).toEqual({ "a.pem": "A", b: "\0\u0001" });
  const sources = [
    { secret: { name: "s", items: [{ key: "k", path: "deep/key" }] } },
    { downwardAPI: { items: [{ path: "uid", fieldRef: { fieldPath: "metadata.uid" } }] } },
    { serviceAccountToken: { path: "token", audience: "x", expirationSeconds: 5 } },
  ];
  const volume = { name: "v", projected: { sources } };
  expect(shown(volume)).toEqual({ "deep/key": "value", uid: "u" });
  expect(volumeTokens(volume)).toEqual([
    { path: "token", audience: "x", expirationSeconds: 600, mode: 0o600 },
  ]);
});

test("a missing source is named, an optional one shows nothing, a path cannot leave the volume", () => {
  expect(() => shown({ name: "v", secret: { secretName: "none" } })).toThrow('secret "none"');
  expect(shown({ name: "v", configMap: { name: "none", optional: true } })).toEqual({});
  const items = (path: string) => [{ key: "k", path }];
  expect(() =>
    shown({ name: "v", secret: { secretName: "s", items: [{ key: "zz", path: "z" }] } }),
  ).toThrow("zz");
  for (const path of ["../x", "/x", "a/../../x", "", "a//b"]) {
    expect(() => shown({ name: "v", secret: { secretName: "s", items: items(path) } })).toThrow(
      "not allowed",
    );
  }
});

test("files of a volume change together and what is gone disappears", async () => {
  const place = join(folder(), "v");
  const files = (entries: Record<string, string>) =>
    new Map(
      Object.entries(entries).map(([path, text]) => [
        path,
        { content: Buffer.from(text), mode: 0o600 },
      ]),
    );
  await showFiles(place, files({ a: "1", "d/e": "2" }));
  expect(readFileSync(join(place, "a"), "utf8")).toBe("1");
  await showFiles(place, files({ "d/e": "3", n: "4" }));
  expect(readFileSync(join(place, "d/e"), "utf8")).toBe("3");
  expect(readdirSync(place).filter((name) => !name.startsWith(".."))).toEqual(["d", "n"]);
  expect(readdirSync(place)).toHaveLength(4); // and one version with its link
  expect(sameFiles(files({ a: "1" }), files({ a: "1" }))).toBe(true);
  expect(sameFiles(files({ a: "1" }), files({ a: "2" }))).toBe(false);
  expect(sameFiles(undefined, files({}))).toBe(false);
});

test("any split of output is kept as the same lines", () => {
  const chunk = fc.string({ unit: fc.constantFrom("a", "\n", "é", " ") });
  fc.assert(
    fc.property(fc.array(chunk), (texts) => {
      const cutter = new LineCutter("stdout");
      const bytes = Buffer.from(texts.join(""));
      const time = new Date(0);
      const kept = [...bytes].map((byte) => cutter.push(Buffer.from([byte]), time));
      const text = renderLines(Buffer.concat([...kept, cutter.end(time)]), {});
      expect(text.equals(bytes)).toBe(true);
    }),
  );
});

test("a line without an end is kept in parts and read as one", () => {
  const cutter = new LineCutter("stderr");
  const long = Buffer.alloc(50_000, "x");
  const kept = Buffer.concat([
    cutter.push(long, new Date(0)),
    cutter.push(Buffer.from("\n"), new Date(0)),
  ]);
  expect(renderLines(kept, {}).toString()).toBe(`${long.toString()}\n`);
  expect(kept.toString().split("\n")).toHaveLength(5);
});

test("the tail and the times of kept lines", () => {
  const cutter = new LineCutter("stdout");
  const kept = Buffer.concat([
    cutter.push(Buffer.from("one\ntwo\n"), new Date(1000)),
    cutter.push(Buffer.from("three\n"), new Date(5000)),
  ]);
  expect(renderLines(lastLines(kept, 2), {}).toString()).toBe("two\nthree\n");
  expect(lastLines(kept, 0)).toHaveLength(0);
  expect(lastLines(kept, 9).equals(kept)).toBe(true);
  const view = { timestamps: true, sinceMs: 2000 };
  expect(renderLines(kept, view).toString()).toBe("1970-01-01T00:00:05.000000000Z three\n");
});

const target = { namespace: "ns", name: "p", uid: "u" };
const text = async (chunks: AsyncIterable<Buffer>) =>
  Buffer.concat(await Array.fromAsync(chunks)).toString();

test("a follower sees everything, also over a rotation, and ends with the run", async () => {
  const store = new LogStore(folder());
  const log = await store.start("u", "agent", 0);
  await log.copy(Readable.from([Buffer.from("begin\n")]), "stdout");
  const follow = { container: "agent", follow: true };
  const following = text(store.read(target, follow, AbortSignal.timeout(30_000)));
  const line = Buffer.from(`${"y".repeat(1000)}\n`);
  const block = Buffer.concat(Array.from({ length: 500 }, () => line));
  const blocks = Math.ceil(MAX_LOG_BYTES / block.length) + 1;
  await log.copy(Readable.from(Array.from({ length: blocks }, () => block)), "stderr");
  await store.finish(log);
  expect((await following).length).toBe(6 + blocks * block.length);
  expect(readdirSync(join(log.path, "..")).sort()).toEqual(["0.log", "0.log.1"]);
}, 60_000);

test("the previous run stays readable, older ones go", async () => {
  const store = new LogStore(folder());
  for (const run of [0, 1, 2]) {
    const log = await store.start("u", "agent", run);
    await log.copy(Readable.from([Buffer.from(`run ${run}\n`)]), "stdout");
    await store.finish(log);
  }
  const { signal } = new AbortController();
  expect(await text(store.read(target, { follow: false }, signal))).toBe("run 2\n");
  expect(await text(store.read(target, { follow: true, previous: true }, signal))).toBe("run 1\n");
  expect(await text(store.read(target, { follow: false, limitBytes: 3 }, signal))).toBe("run");
  const nobody = text(store.read({ ...target, uid: "x" }, { follow: false }, signal));
  await expect(nobody).rejects.toMatchObject({ code: "NotFound" });
});

test("records survive a new start; an ended run goes, its successor stays", async () => {
  const file = join(folder(), "run", "pods.json");
  const records = await RunRecords.open(file);
  const first = { pid: 1, startTime: "b:1", podUid: "u", container: "a" };
  await records.add(first);
  records.end({ ...first, pid: 99 });
  expect(records.ended("u")).toEqual([]);
  records.end(first);
  const ended = records.ended("u");
  await records.add({ ...first, pid: 2, startTime: "b:2" });
  await records.forget(ended);
  expect((await RunRecords.open(file)).list()).toEqual([{ ...first, pid: 2, startTime: "b:2" }]);
  writeFileSync(file, "{");
  await expect(RunRecords.open(file)).rejects.toThrow(file);
});

test.runIf(process.platform === "linux")(
  "an address has one pod, and nobody listens there",
  async () => {
    const pool = new AddressPool("127.77.255.0/30", "seed");
    const first = await pool.allocate("a", []);
    expect(pool.reserve("b", first)).toBe(false);
    expect(pool.reserve("a", first)).toBe(true);
    expect(pool.reserve("b", "127.0.0.1")).toBe(false);
    const second = await pool.allocate("b", []);
    expect(new Set([first, second, "127.77.255.1", "127.77.255.2"]).size).toBe(2);
    await expect(pool.allocate("c", [])).rejects.toMatchObject({ code: "Unavailable" });
    pool.release("a");
    const server = createServer().listen(0, first);
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    await expect(pool.allocate("c", [port])).rejects.toMatchObject({ code: "Unavailable" });
    server.close();
    expect(await pool.allocate("c", [])).toBe(first);
    expect(() => new AddressPool("10.0.0.0/16", "")).toThrow("loopback");
  },
);
