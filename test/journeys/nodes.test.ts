import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeModel, startFakeModel } from "#test/fakes/model.ts";
import { ArgusUp, argus } from "#test/support/argus-up.ts";
import { joined } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { startMcpServer } from "#test/support/mcp-server.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";
import { processesOf } from "#test/support/processes.ts";
import { proofSize, proved } from "#test/support/proof.ts";

let model: FakeModel;
let up: ArgusUp;
const hosts: NodeHostProcess[] = [];
const folders: string[] = [];
beforeAll(async () => {
  model = await startFakeModel({ requireKey: "sk-test-model-key" });
  up = await ArgusUp.start({
    env: {
      ARGUS_MODEL_UPSTREAM: model.url,
      ARGUS_MODEL_KEY: "sk-test-model-key",
      ARGUS_MODEL: "mock-model",
    },
  });
});
afterAll(async () => {
  for (const host of hosts) await host.remove();
  for (const folder of folders) await rm(folder, { recursive: true });
  await up?.destroy();
  await model?.close();
});

const cli = ([first = "", ...words]: string[]) => argus([first, "--data", up.data, ...words]);

test("a device joins with the file and the line that the gateway serves, and a program runs on it as if by ssh", async () => {
  const help = await (await fetch(`${up.url}/help`)).text();
  const sum = await (await fetch(`${up.url}/node-host.mjs.sha256`)).text();
  expect(help).toContain(`node node-host.mjs pair ${up.url}`);
  expect(help).toContain(sum.split(" ")[0]);
  const folder = await mkdtemp(join(tmpdir(), "argus-download-"));
  folders.push(folder);
  const file = join(folder, "node-host.mjs");
  await writeFile(file, Buffer.from(await (await fetch(`${up.url}/node-host.mjs`)).arrayBuffer()));
  const host = await NodeHostProcess.make({ default: "allow" }, [process.execPath, file]);
  hosts.push(host);
  const words = `pair ${up.url} --node-id laptop --display-name`.split(" ");
  const pairing = host.start([...words, "My laptop"]);
  const paired = new Promise((resolve) => pairing.once("exit", resolve));
  const code = await eventually("the code is shown", () => /code: (\w{8})/.exec(host.stdout)?.[1]);
  expect((await argus(["nodes", "pending", "--data", up.data])).stdout).toContain(code);
  const approved = await cli(["approve", code]);
  expect(approved).toMatchObject({ code: 0, stdout: "My laptop (laptop) may be used by main\n" });
  expect(await paired).toBe(0);
  host.start(["run"]);
  await eventually("it is there", async () => (await cli(["nodes"])).stdout.includes("connected"));
  const script = "printf 'h\\033[1mi\\n'; echo oh >&2; exit 7";
  const echoed = await cli(["run", "laptop", "--", "sh", "-c", script]);
  // What is no terminal gets the bytes as they are.
  expect(echoed).toEqual({ code: 7, stdout: "h\u001b[1mi\n", stderr: "oh\n" });
  expect((await cli(["run", "My laptop", "--", "sh", "-c", "kill -9 $$"])).code).toBe(137);
  expect((await cli(["run", "laptop", "--", "/no/such/program"])).code).toBe(65);
  expect((await cli(["run", "phone", "--", "true"])).stderr).toContain("There are: laptop");
  const jobs = await cli(["jobs"]);
  expect(jobs.stdout).toMatch(/laptop .* exit 7 .* sh -c/);
}, 90_000);

test("the real Codex lists its session's devices and runs a command on one", async () => {
  const name = "codex-nodes";
  const object = `apiVersion: argus.dev/v1alpha1\nkind: ArgusSession\nmetadata: { name: ${name} }\nspec: { heartbeat: { intervalSeconds: 0 } }\n`;
  await up.kubectl(["apply", "-f", "-"], object);
  await up.kubectl(["wait", "--for=condition=Ready", `asess/${name}`, "--timeout=60s"]);
  hosts.push(await joined(up, { nodeId: "server", session: name }));
  const client = await up.connect({ session: name });
  const turn = async (text: string) => {
    const { inputId } = await client.request("argus/input/enqueue", { text });
    await client.waitFor(
      `the end of ${text}`,
      ({ method, params }) => method === "argus/input/ended" && params?.id === inputId,
    );
    return model.requests.at(-1)?.outputs.join();
  };
  expect(await turn("tool: mcp__argus/nodes_list {}")).toContain('"nodeId":"server"');
  const call = { node: "server", command: "system.run", params: { argv: ["echo", "from afar"] } };
  const output = await turn(`tool: mcp__argus/node_invoke ${JSON.stringify(call)}`);
  expect(output).toContain("from afar");
  // A device of another session does not exist for it.
  const foreign = await turn(
    `tool: mcp__argus/node_invoke ${JSON.stringify({ ...call, node: "laptop" })}`,
  );
  expect(foreign).toContain("NODE_NOT_FOUND");
  await client.close();
}, 120_000);

test("the pod is a node: a person's command runs there at once, the agent's where its sandbox allows it, and neither sees a token", async () => {
  const name = "codex-nodes";
  const script = 'echo "$ARGUS_SESSION in $PWD"; env; exit 3';
  const ran = await cli(["run", `runtime:${name}`, "--", "sh", "-c", script]);
  expect(ran).toMatchObject({ code: 3, stderr: "" });
  expect(ran.stdout).toMatch(new RegExp(`^${name} in .*workspace\n`));
  expect(ran.stdout).not.toMatch(/token|secret|ARGUS_GATEWAY_URL|sk-test/i);
  expect((await cli(["nodes", "--session", name])).stdout).toMatch(
    /runtime:codex-nodes .*connected/,
  );
  const client = await up.connect({ session: name });
  const argv = ["sh", "-c", "echo mine"];
  const text = `tool: mcp__argus/node_invoke ${JSON.stringify({ node: "self", command: "system.run", params: { argv } })}`;
  const { inputId } = await client.request("argus/input/enqueue", { text });
  // Nothing isolates this pod: the agent gets out of its sandbox by a person's word only.
  const asked = await eventually("the question", async () => {
    const { approvals } = await client.request("argus/node/pending");
    return (approvals as { approvalId: string; summary: string }[])[0];
  });
  expect(asked.summary).toBe("sh -c echo mine");
  const { stdout } = await cli(["approve", asked.approvalId.slice(0, 8), "--session", name]);
  expect(stdout).toContain("runs: sh -c echo mine");
  await client.waitFor(
    "the turn's end",
    ({ method, params }) => method === "argus/input/ended" && params?.id === inputId,
  );
  expect(model.requests.at(-1)?.outputs.join()).toContain("mine");
  await client.close();
}, 90_000);

test("a command wakes a cold session; its job keeps the pod, and the job's end wakes the agent", async () => {
  const name = "sleepy-pod";
  const object = `apiVersion: argus.dev/v1alpha1\nkind: ArgusSession\nmetadata: { name: ${name} }\nspec: { heartbeat: { intervalSeconds: 0 }, idle: { suspendAfterSeconds: 30 } }\n`;
  await up.kubectl(["apply", "-f", "-"], object);
  await up.kubectl(["wait", "--for=condition=Suspended=True", `asess/${name}`, "--timeout=80s"]);
  const woken = await cli(["run", `runtime:${name}`, "--", "echo", "awake"]);
  expect(woken).toEqual({ code: 0, stdout: "awake\n", stderr: "" });
  const podOf = () => up.kubectl(["get", "pods", "-l", `argus.dev/session=${name}`, "-o", "name"]);
  const pod = await podOf();
  const client = await up.connect({ session: name });
  const params = { argv: ["sh", "-c", "sleep 60; echo done it"], yieldMs: 0 };
  const call = { node: "self", command: "system.run", params };
  const started = await client.request("argus/node/invoke", call);
  expect(started).toMatchObject({ ok: true, payload: { running: true } });
  await client.close();
  const turns = model.requests.length;
  const told = () => model.requests.slice(turns).some(({ prompt }) => prompt.includes("done it"));
  await eventually("the agent is told of the end", told, 100_000);
  expect(await podOf()).toBe(pod);
}, 240_000);

test("the real Codex uses a tool of the session's own slow MCP server in its first turn, and cannot find its key", async () => {
  const tickets = await startMcpServer({ key: "k3y-of-tickets", startMs: 4000 });
  const name = "with-tools";
  const secret = `--from-literal=headers=X-Key: k3y-of-tickets`;
  await up.kubectl(["create", "secret", "generic", "tickets", secret]);
  const object = `apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: ${name} }
spec:
  heartbeat: { intervalSeconds: 0 }
  mcpServers:
    - { name: tickets, url: "${tickets.url}", headersFrom: { secretKeyRef: { name: tickets, key: headers } } }
`;
  await up.kubectl(["apply", "-f", "-"], object);
  await up.kubectl(["wait", "--for=condition=Ready", `asess/${name}`, "--timeout=60s"]);
  const client = await up.connect({ session: name });
  const text = 'tool: mcp__tickets/lookup {"id":7}';
  const { inputId } = await client.request("argus/input/enqueue", { text });
  await eventually("it says what the turn waits for", async () =>
    /starts its MCP servers/.test(JSON.stringify(await client.request("argus/input/list", {}))),
  );
  await client.waitFor(
    "the turn's end",
    ({ method, params }) => method === "argus/input/ended" && params?.id === inputId,
  );
  expect(model.requests.at(-1)?.outputs.join()).toContain("ticket 7 is open");
  await client.close();
  const look = "cat ~/.codex/config.toml; env; tr '\\0' ' ' < /proc/self/environ";
  const { stdout } = await cli(["run", `runtime:${name}`, "--", "sh", "-c", look]);
  expect(stdout).toContain("[mcp_servers.tickets]");
  expect(stdout).not.toContain("k3y-of-tickets");
  await tickets.close();
}, 120_000);

test("a large output passes device, gateway and argus run byte for byte, in bounded memory", async () => {
  const bytes = proofSize(32 * 1024 ** 2, 1024 ** 3);
  const host = await joined(up, { nodeId: "big", session: "main" });
  hosts.push(host);
  const pidOf = { gateway: up.find("argus.mjs gateway")[0]?.pid, device: host.child?.pid };
  const before = { gateway: residentMiB(pidOf.gateway), device: residentMiB(pidOf.device) };
  const script = `seq 100000000 900000000 | head -c ${bytes}`;
  const words = ["run", "--data", up.data, "big", "--", "sh", "-c", script];
  const began = performance.now();
  const remote = spawn(join(import.meta.dirname, "..", "..", "argus"), words, {
    env: { PATH: process.env.PATH, HOME: host.folder },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exited = once(remote, "exit");
  let mostOfCli = 0;
  const look = setInterval(() => {
    mostOfCli = Math.max(mostOfCli, residentMiB(remote.pid));
  }, 200);
  const got = await digest(remote.stdout);
  clearInterval(look);
  expect((await exited)[0]).toBe(0);
  const seconds = (performance.now() - began) / 1000;
  expect(got).toEqual(await digest(spawn("sh", ["-c", script]).stdout));
  expect(got.bytes).toBe(bytes);
  const grown = {
    gateway: mostMiB(pidOf.gateway) - before.gateway,
    device: mostMiB(pidOf.device) - before.device,
  };
  proved(
    `${bytes} bytes in ${seconds.toFixed(1)} s; at most ${mostOfCli} MiB of argus run, gateway +${grown.gateway} MiB, device +${grown.device} MiB`,
  );
  expect(grown.gateway).toBeLessThan(128);
  expect(grown.device).toBeLessThan(128);
  expect(mostOfCli).toBeLessThan(256);
}, 300_000);

test("in a real terminal a program's control bytes are shown, not obeyed; --raw passes them on", async () => {
  const program = join(import.meta.dirname, "..", "..", "argus");
  const evil = "printf '\\033]0;evil\\007\\033[2J\\033[31mred\\n'";
  const inTerminal = async (...options: string[]) => {
    const words = [program, "run", "--data", up.data, ...options, "big", "--", "sh", "-c"];
    const child = spawn("script", ["-qec", `${words.join(" ")} "${evil}"`, "/dev/null"], {
      env: { PATH: process.env.PATH, HOME: up.data, TERM: "xterm" },
      stdio: ["ignore", "pipe", "inherit"],
    });
    return Buffer.concat((await child.stdout.toArray()) as Buffer[]).toString();
  };
  const shown = await inTerminal();
  expect(shown).toContain("red");
  for (const control of ["\u001b", "\u0007"]) expect(shown).not.toContain(control);
  expect(await inTerminal("--raw")).toContain("\u001b]0;evil\u0007\u001b[2J\u001b[31mred");
}, 60_000);

async function digest(stream: Readable): Promise<{ bytes: number; sum: string }> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length;
    hash.update(chunk as Buffer);
  }
  return { bytes, sum: hash.digest("hex") };
}

function statusMiB(pid: number | undefined, name: string): number {
  try {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    return Math.round(Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0) / 1024);
  } catch {
    return 0;
  }
}
const residentMiB = (pid: number | undefined) => statusMiB(pid, "VmRSS");
const mostMiB = (pid: number | undefined) => statusMiB(pid, "VmHWM");

test("argus run goes on where it was when the gateway is killed, and when the node-host is", async () => {
  const script = `i=0; while [ $i -lt 80 ]; do echo line $i; i=$((i+1)); sleep 0.1; done; exit 5`;
  const running = cli(["run", "laptop", "--", "sh", "-c", script]);
  const [host] = hosts;
  const started = () =>
    processesOf(host?.folder ?? "").some(({ command }) => command.startsWith("sh -c"));
  await eventually("it runs", started);
  const [gateway] = up.find("argus.mjs gateway");
  process.kill(gateway?.pid ?? 0, "SIGKILL");
  await host?.kill();
  host?.start(["run"]);
  const { code, stdout } = await running;
  expect(stdout).toBe(Array.from({ length: 80 }, (_, index) => `line ${index}\n`).join(""));
  expect(code).toBe(5);
}, 90_000);
