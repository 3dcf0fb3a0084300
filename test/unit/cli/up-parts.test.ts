import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dataFolder } from "#cli/data-folder.ts";
import { type Ready, readyText } from "#cli/up/banner.ts";
import { type ChildOptions, superviseChild, waitUntilReady } from "#cli/up/child.ts";
import { adminToken, makeFolders } from "#cli/up/folders.ts";
import { StartedProcesses } from "#cli/up/leftovers.ts";
import { lockDataFolder } from "#cli/up/lock.ts";
import { LogFile } from "#cli/up/log-file.ts";
import { freePort } from "#cli/up/ports.ts";
import { installBin, reachableByAll } from "#cli/up/program.ts";
import { Shutdown } from "#cli/up/shutdown.ts";
import { monotonicMs, systemClock } from "#lib/clock.ts";
import { recordProcess, sameProcess } from "#lib/process-record.ts";

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), "argus-cli-"));
  chmodSync(folder, 0o755);
  return folder;
}
const folderAt = (root: string) => dataFolder(root, { environment: {}, platform: "linux", uid: 0 });

test("a second holder is refused and told who the first one is", async () => {
  const folder = folderAt(temporary());
  const lock = await lockDataFolder(folder, new Date("2026-11-24T10:00:00Z"));
  await lock.announce("http://127.0.0.1:8080");
  const second = lockDataFolder(folder, new Date());
  await expect(second).rejects.toMatchObject({ code: "Conflict" });
  await expect(second).rejects.toThrow(
    new RegExp(`8080.*process ${process.pid} since 2026-11-24T10:00:00`),
  );
  lock.release();
  (await lockDataFolder(folder, new Date())).release();
});

test("secrets are for their owner alone, also when the folder was open before", async () => {
  const folder = folderAt(join(temporary(), "data"));
  mkdirSync(join(folder.root, "private"), { recursive: true, mode: 0o755 });
  await makeFolders(folder, true);
  const token = await adminToken(folder, undefined);
  expect(token.length).toBeGreaterThan(40);
  expect(await adminToken(folder, undefined)).toBe(token);
  expect(statSync(folder.token).mode & 0o777).toBe(0o600);
  expect(statSync(join(folder.root, "private")).mode & 0o777).toBe(0o700);
  expect(statSync(folder.root).mode & 0o777).toBe(0o711);
});

test("a data folder that the sessions' users cannot enter is refused with the command that opens it", async () => {
  const closed = mkdtempSync(join(tmpdir(), "argus-closed-"));
  const made = makeFolders(folderAt(join(closed, "data")), true);
  await expect(made).rejects.toThrow(`chmod o+x ${closed}`);
});

test("a taken port is named with the option that changes it", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (!address || typeof address === "string") throw new Error("no port");
  await expect(freePort(address.port, "--port")).rejects.toThrow(/--port/);
  expect(await freePort(0, "--port")).toBeGreaterThan(0);
  server.close();
});

test("a log never grows beyond twice its bound", () => {
  const path = join(temporary(), "x.log");
  const log = new LogFile(path, 1000);
  for (let line = 0; line < 1000; line++) log.write(`line ${line}\n`);
  expect(statSync(path).size).toBeLessThanOrEqual(1000);
  expect(statSync(`${path}.1`).size).toBeLessThanOrEqual(1000);
  expect(log.lastLines(1)).toEqual(["line 999"]);
  log.close();
});

test("what an earlier run left is ended, and only that", async () => {
  const path = join(temporary(), "children.json");
  const left = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
  const bystander = spawn("sleep", ["600"], { detached: true, stdio: "ignore" });
  const before = new StartedProcesses(path);
  await before.add(left.pid ?? 0);
  const ended = once(left, "exit");
  expect(await new StartedProcesses(path).endLeftovers()).toBeGreaterThan(0);
  await ended;
  const record = await recordProcess(bystander.pid ?? 0);
  expect(await sameProcess(record.pid, record.startTime)).toBe(true);
  bystander.kill("SIGKILL");
  expect(await new StartedProcesses(path).endLeftovers()).toBe(0);
});

function childOptions(script: string, said: string[]): ChildOptions {
  const root = temporary();
  return {
    name: "gateway",
    command: process.execPath,
    args: ["-e", script],
    environment: {},
    log: new LogFile(join(root, "gateway.log")),
    started: new StartedProcesses(join(root, "children.json")),
    clock: { now: Date.now, monotonicMs, sleep: async () => undefined },
    say: (line) => said.push(line),
  };
}

test("a child that dies is started again, said so, and stops with the signal", async () => {
  const said: string[] = [];
  const stop = new AbortController();
  const restarted = Promise.withResolvers<void>();
  const options = childOptions("process.exit(3)", said);
  options.say = (line) => {
    said.push(line);
    if (said.length === 2) restarted.resolve();
  };
  const child = superviseChild(options, stop.signal);
  await restarted.promise;
  stop.abort();
  await child.closed;
  expect(said[0]).toMatch(/gateway ended \(exit 3\); starting it again/);
});

test("a child that cannot live fails the start with its last words", async () => {
  const stop = new AbortController();
  const options = childOptions("console.error('no such state folder'); process.exit(78)", []);
  const child = superviseChild(options, stop.signal);
  const port = await freePort(0, "--port");
  const ready = waitUntilReady({ ...options, clock: systemClock }, child, {
    url: `http://127.0.0.1:${port}/readyz`,
    timeoutMs: 30_000,
    signal: stop.signal,
  });
  await expect(ready).rejects.toThrow(/does not stay alive.*no such state folder/s);
  stop.abort();
  await child.closed;
});

test("parts stop in the opposite order of their start, each only when the next has ended", async () => {
  const order: string[] = [];
  const shutdown = new Shutdown(new AbortController().signal);
  const part = (name: string) => (signal: AbortSignal) => {
    const closed = once(signal, "abort").then(() => {
      order.push(name);
    });
    return { closed };
  };
  await shutdown.start("cluster", part("cluster"));
  await shutdown.start("gateway", part("gateway"));
  await shutdown.stop(() => undefined);
  expect(order).toEqual(["gateway", "cluster"]);
});

test("a program in a closed folder is copied to where every user can run it", async () => {
  const closed = mkdtempSync(join(tmpdir(), "argus-home-"));
  const put = (path: string, text: string, mode = 0o600) => {
    mkdirSync(join(closed, path, ".."), { recursive: true });
    writeFileSync(join(closed, path), text, { mode });
  };
  for (const name of ["runtime", "cluster", "crds", "protocol", "lib"]) put(`${name}/x.ts`, "");
  put("cli/argus.mjs", "console.log('ran', process.argv[2]);");
  put("package.json", '{"type":"module"}');
  put("node_modules/zod/package.json", "{}");
  put("node_modules/vitest/package.json", "{}");
  const packages = { "node_modules/zod": {}, "node_modules/vitest": { dev: true } };
  put("package-lock.json", JSON.stringify({ packages }));
  const folder = folderAt(join(temporary(), "data"));
  mkdirSync(folder.root, { mode: 0o711 });
  const installed = { root: closed, node: process.execPath, codex: undefined };
  const program = await installBin(folder, installed, true);
  expect(reachableByAll(join(program.root, "cli", "argus.mjs"))).toBe(true);
  expect(reachableByAll(join(program.root, "node_modules", "zod", "package.json"))).toBe(true);
  expect(() => statSync(join(program.root, "node_modules", "vitest"))).toThrow(/ENOENT/);
  const child = spawn(join(folder.bin, "argus"), ["echo"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [out] = (await once(child.stdout, "data")) as [Buffer];
  expect(out.toString()).toBe("ran echo\n");
});

const READY: Ready = {
  url: "http://127.0.0.1:8080",
  token: "t",
  kubeconfig: "/data/my argus/kubeconfig",
  data: "/data",
  logs: "/data/logs",
  program: "./argus",
  dataFlag: "",
  main: "echo",
  hasModel: false,
  codexInstalled: true,
  telegram: false,
  warnings: ["network: shared"],
};

test("the ready text tells url, token, next command, what is not isolated, and labels the echo", () => {
  const text = readyText(READY);
  expect(text).toContain("http://127.0.0.1:8080");
  expect(text).toContain("./argus chat");
  expect(text).toContain("ECHO");
  expect(text).toContain("network: shared");
  expect(text).toContain("KUBECONFIG='/data/my argus/kubeconfig'");
});

test("a key that came later tells how to switch; a key that is gone says that turns will fail", () => {
  expect(readyText({ ...READY, hasModel: true })).toContain("sessions runtime main codex");
  expect(readyText({ ...READY, main: "codex" })).toContain("its turns will fail");
  expect(
    readFileSync(join(import.meta.dirname, "../../../cli/program/sessions.ts"), "utf8"),
  ).toContain('.command("runtime")');
});
