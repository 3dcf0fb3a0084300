import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { eventually } from "#test/support/eventually.ts";
import { Collector, NodeGateway } from "#test/support/node-gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";
import { processesOf } from "#test/support/processes.ts";

let gateway: NodeGateway;
let host: NodeHostProcess;
beforeEach(async () => {
  gateway = await NodeGateway.start();
  host = await NodeHostProcess.make();
  host.run(gateway.url);
  await gateway.connected();
});
afterEach(async () => {
  await host.remove();
  await gateway.stop();
});

const run = (argv: string[], more: object = {}) => gateway.invoke("system.run", { argv, ...more });
const base64 = (text: string) => Buffer.from(text).toString("base64");

test("system.run answers with the end, both outputs and their sizes", async () => {
  const result = await run(["sh", "-c", "cat; echo err >&2; exit 3"], { stdinText: "hällo" });
  expect(result).toMatchObject({ running: false, exitCode: 3, signal: null, timedOut: false });
  expect(result).toMatchObject({ stdout: "hällo", stderr: "err\n", stdoutBytes: 6 });
  expect(await run(["sh", "-c", "kill -9 $$"])).toMatchObject({
    exitCode: null,
    signal: "SIGKILL",
  });
  expect(await run(["/no/such/program"])).toMatchObject({ error: "SPAWN_FAILED" });
  expect(await gateway.invoke("system.run", { argv: [] })).toMatchObject({ error: "BAD_INPUT" });
  const onTerminal = await run(["sh", "-c", "test -t 0 && stty size"], { pty: true });
  expect(onTerminal).toMatchObject({ exitCode: 0, stdout: "24 80\r\n" });
  expect(await gateway.invoke("no.such")).toMatchObject({ error: "UNSUPPORTED" });
});

test("a program sees the listed part of the environment and never a token", async () => {
  const { stdout } = await run(["env"], { env: { MINE: "1" }, cwd: host.folder });
  const names = String(stdout)
    .split("\n")
    .map((line) => line.split("=")[0]);
  expect(names).toEqual(expect.arrayContaining(["PATH", "HOME", "MINE", "ARGUS_JOB_ID"]));
  expect(names.filter((name) => name?.startsWith("ARGUS_"))).toEqual(["ARGUS_JOB_ID"]);
});

test("system.which finds executable files only", async () => {
  expect(await gateway.invoke("system.which", { bin: "sh" })).toMatchObject({
    path: expect.stringMatching(/\/sh$/),
  });
  expect(await gateway.invoke("system.which", { bin: "no-such-bin" })).toEqual({
    bin: "no-such-bin",
    path: null,
  });
});

test("a job in the background is listed, read, fed, and its end is told until it is acknowledged", async () => {
  const { jobId, running } = await run(["sh", "-c", "cat; exit 4"], { stdin: true, yieldMs: 0 });
  expect(running).toBe(true);
  const write = { jobId, dataBase64: base64("one"), offset: 0 };
  expect(await gateway.invoke("process.write", write)).toEqual({ jobId, stdinBytes: 3 });
  expect(await gateway.invoke("process.write", write)).toEqual({ jobId, stdinBytes: 3 });
  const last = { jobId, dataBase64: base64("two"), offset: 3, close: true };
  expect(await gateway.invoke("process.write", last)).toEqual({ jobId, stdinBytes: 6 });
  const exited = await gateway.frame("node.process.exited");
  expect(exited).toMatchObject({ jobId, exitCode: 4, stdoutTail: "onetwo", orphaned: false });
  expect(await gateway.invoke("process.logs", { jobId })).toMatchObject({
    stdout: "onetwo",
    running: false,
  });
  expect(await gateway.invoke("process.get", { jobId })).toMatchObject({
    job: { exitCode: 4, running: false },
  });
  expect(await gateway.invoke("process.kill", { jobId })).toMatchObject({ error: "NOT_RUNNING" });
  expect(await gateway.invoke("process.get", { jobId }, { sessionId: "other" })).toMatchObject({
    error: "NOT_FOUND",
  });

  gateway.cut();
  await gateway.connected(2);
  const told = () => gateway.frames.filter(({ event }) => event === "node.process.exited").length;
  await eventually("told again", () => told() === 2);
  gateway.send("node.process.exited.ack", { jobId });
  await gateway.invoke("process.list");
  gateway.cut();
  await gateway.connected(3);
  await gateway.invoke("process.list");
  expect(told()).toBe(2);
});

test("a repeated call starts nothing twice, also after the node-host was killed", async () => {
  const file = join(host.folder, "ran");
  const params = { argv: ["sh", "-c", `echo x >> ${file}; cat ${file}`] };
  const first = await gateway.invoke("system.run", params, { id: "call-1" });
  gateway.request("system.run", params, { id: "call-1" });
  await eventually("a second answer", () => gateway.results("call-1").length === 2);
  await host.kill();
  host.run(gateway.url);
  await gateway.connected(2);
  gateway.request("system.run", params, { id: "call-1" });
  await eventually("a third answer", () => gateway.results("call-1").length === 3);
  for (const { payload } of gateway.results("call-1"))
    expect(payload).toMatchObject({ jobId: first.jobId, stdout: "x\n" });
});

const STUBBORN = `trap '' TERM; (trap '' TERM; setsid sleep 987) & (trap '' TERM; sleep 987) & sleep 987`;

test("a time-out and a kill end the whole tree, also what ignores SIGTERM and left its group", async () => {
  const alive = (jobId: unknown) => processesOf(`ARGUS_JOB_ID=${String(jobId)}`).length;
  const timed = await run(["sh", "-c", STUBBORN], { timeoutMs: 300 });
  expect(timed).toMatchObject({ timedOut: true, signal: "SIGKILL" });
  expect(alive(timed.jobId)).toBe(0);
  const { jobId } = await run(["sh", "-c", STUBBORN], { yieldMs: 0 });
  await eventually("its children run", () => alive(jobId) >= 4);
  expect(await gateway.invoke("process.kill", { jobId })).toEqual({ jobId, signal: "SIGTERM" });
  expect(alive(jobId)).toBe(0);
});

test("a canceled call ends its job", async () => {
  const id = gateway.request("system.run", { argv: ["sleep", "987"], yieldMs: 60_000 });
  await eventually("it runs", async () => {
    const { jobs } = (await gateway.invoke("process.list")) as { jobs: { pid: number | null }[] };
    return jobs[0]?.pid;
  });
  gateway.send("node.invoke.cancel", { id });
  expect((await gateway.result(id)).payload).toMatchObject({ signal: "SIGTERM", running: false });
});

test("after kill -9 of the node-host a living job is adopted, a lost one is ended and reported", async () => {
  const kept = await run(["sh", "-c", "read line; echo got $line; exit 5"], {
    stdin: true,
    yieldMs: 0,
  });
  const lost = await run(["sh", "-c", "sleep 987 & sleep 986"], { yieldMs: 0 });
  await host.kill();
  const supervisor = processesOf(`ARGUS_JOB_SUPERVISOR=${String(lost.jobId)}`);
  expect(supervisor).toHaveLength(1);
  for (const { pid } of supervisor) process.kill(pid, "SIGKILL");
  const started = Date.now();
  host.run(gateway.url);
  await gateway.connected(2);
  const report = await gateway.frame("node.process.exited", ({ jobId }) => jobId === lost.jobId);
  expect(Date.now() - started).toBeLessThan(5000);
  expect(report).toMatchObject({
    orphaned: true,
    exitCode: null,
    reason: expect.stringMatching(/supervisor/),
  });
  expect(processesOf(`ARGUS_JOB_ID=${String(lost.jobId)}`)).toEqual([]);
  await gateway.invoke("process.write", {
    jobId: kept.jobId,
    dataBase64: base64("it\n"),
    close: true,
  });
  const end = await gateway.frame("node.process.exited", ({ jobId }) => jobId === kept.jobId);
  expect(end).toMatchObject({ exitCode: 5, stdoutTail: "got it\n", orphaned: false });
});

test("output streams with offsets, separately, and its end comes last", async () => {
  const { jobId } = await run(
    ["sh", "-c", "printf '\\033[31mred'; printf err >&2; sleep 0.2; printf more"],
    { yieldMs: 0 },
  );
  const collector = new Collector();
  const seen: Record<string, string> = { stdout: "", stderr: "" };
  collector.onBytes = (output, bytes) => {
    seen[output] += bytes.toString();
  };
  gateway.open(collector, String(jobId));
  await eventually("the end", () => collector.end);
  expect(collector.errors).toEqual([]);
  expect(seen).toEqual({ stdout: "\u001b[31mredmore", stderr: "err" });
  expect(collector.end).toMatchObject({ exitCode: 0, stdoutBytes: 12, stderrBytes: 3 });
});

test("files: read, write, list; no path and no link leads out of the shared folders", async () => {
  const at = (...parts: string[]) => join(host.folder, ...parts);
  await mkdir(at("real"));
  const outside = await mkdtemp(join(tmpdir(), "argus-outside-"));
  await writeFile(join(outside, "file"), "secret");
  await symlink(outside, at("out"));
  await symlink(join(outside, "file"), at("link"));
  const data = base64("\u001b[2Jbytes");
  expect(
    await gateway.invoke("file.write", { path: at("real/a"), dataBase64: data }),
  ).toMatchObject({ bytes: 9 });
  expect(await gateway.invoke("file.read", { path: at("real/a") })).toMatchObject({
    dataBase64: data,
    size: 9,
  });
  expect(await gateway.invoke("file.list", { path: at("real") })).toMatchObject({
    entries: [{ name: "a", kind: "file", size: 9 }],
  });
  const refused = [
    ["file.read", { path: `${host.folder}/real/../../x` }, "BAD_INPUT"],
    ["file.read", { path: join(outside, "file") }, "DENIED"],
    ["file.read", { path: at("out/file") }, "DENIED"],
    ["file.read", { path: at("link") }, "DENIED"],
    ["file.list", { path: at("out") }, "DENIED"],
    ["file.write", { path: at("out/new"), dataBase64: data }, "DENIED"],
    ["file.write", { path: at("link"), dataBase64: data }, "BAD_INPUT"],
    ["file.write", { path: at("real/a"), dataBase64: data, createOnly: true }, "BAD_INPUT"],
    ["file.read", { path: at("none") }, "NOT_FOUND"],
  ] as const;
  for (const [command, params, error] of refused)
    expect(await gateway.invoke(command, params), `${command} ${params.path}`).toMatchObject({
      error,
    });
  await rm(outside, { recursive: true });
});

test("a rule's folder and a call's folder are the same place by whatever links they are written", async () => {
  const at = (...parts: string[]) => join(host.folder, ...parts);
  await mkdir(at("private/deep"), { recursive: true });
  await symlink(at("private"), at("alias"));
  const deniesBy = async (folder: string) => {
    const rules = [{ effect: "deny", folder: at(folder) }];
    await writeFile(at("policy.json"), JSON.stringify({ default: "allow", rules }));
    for (const cwd of ["private", "private/deep", "alias", "alias/deep", "alias/../private"])
      expect(await run(["true"], { cwd: at(cwd) }), cwd).toMatchObject({ error: "DENIED" });
    const fresh = { path: `${at("alias/deep")}/new`, dataBase64: "" };
    expect(await gateway.invoke("file.write", fresh)).toMatchObject({ error: "DENIED" });
    expect(await run(["true"], { cwd: host.folder })).toMatchObject({ exitCode: 0 });
  };
  await deniesBy("private");
  await deniesBy("alias");
  await deniesBy("alias/deep/../../private");
});

test("to write to a program or to end it is decided like its start", async () => {
  const { jobId } = await run(["sh"], { stdin: true, yieldMs: 0 });
  const policy = (rules: object[]) =>
    writeFile(join(host.folder, "policy.json"), JSON.stringify({ default: "deny", rules }));
  await policy([]);
  const write = { jobId, dataBase64: base64("echo x\n") };
  expect(await gateway.invoke("process.write", write)).toMatchObject({ error: "DENIED" });
  expect(await gateway.invoke("process.kill", { jobId })).toMatchObject({ error: "DENIED" });
  expect(await gateway.invoke("process.get", { jobId })).toMatchObject({ job: { running: true } });
  await policy([{ effect: "allow", command: "process.write", argv: ["cat"] }]);
  expect(await gateway.invoke("process.write", write)).toMatchObject({ error: "DENIED" });
  await policy([{ effect: "allow", command: "process.*", argv: ["sh"] }]);
  expect(await gateway.invoke("process.write", write)).toMatchObject({ stdinBytes: 7 });
  expect(await gateway.invoke("process.kill", { jobId })).toMatchObject({ signal: "SIGTERM" });
});
