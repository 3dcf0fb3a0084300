import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { expect } from "vitest";
import type { FakeModel } from "#test/fakes/model.ts";
import { eventually } from "#test/support/eventually.ts";
import { startMcpServer } from "#test/support/mcp-server.ts";
import type { Release } from "#test/support/release.ts";
import { type Outcome, runProgram } from "#test/support/run-program.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const PROGRAM = join(ROOT, "cli", "argus.mjs");
const KEYS = "tickets";
/** Of the chart: the Secret that the gateway may read for sessions. */
export const NODE_VALUES = { gateway: { mcpSecrets: [KEYS] } };

/** A person outside of the cluster, with the gateway's address and token. */
export class Person {
  readonly #gateway: { ARGUS_URL: string; ARGUS_TOKEN: string };

  constructor({ url, token }: { url: string; token: string }) {
    this.#gateway = { ARGUS_URL: url, ARGUS_TOKEN: token };
  }

  /** `argus <words>`. */
  argus(words: string[]): Promise<Outcome> {
    const env = { ...process.env, ...this.#gateway };
    return runProgram(process.execPath, [PROGRAM, ...words], { env, timeoutMs: 120_000 });
  }

  /** One turn of the session's agent, which calls a tool; answers what the tool said. */
  async tool(session: string, name: string, args: object): Promise<string> {
    const message = `tool: ${name} ${JSON.stringify(args)}`;
    const outcome = await this.argus(["chat", session, "--message", message]);
    expect(outcome).toMatchObject({ code: 0 });
    return outcome.stdout.replaceAll("\\", "");
  }

  /** The program ends only after its first words were read here: they came while it ran. */
  async streams(session: string, node: string): Promise<void> {
    const flag = `/tmp/argus-go-${randomUUID()}`;
    const script = `echo first; until [ -e ${flag} ]; do sleep 0.1; done; rm ${flag}; echo second; exit 7`;
    const run = ["run", "--session", session, node, "--"];
    const child = spawn(process.execPath, [PROGRAM, ...run, "sh", "-c", script], {
      env: { ...process.env, ...this.#gateway },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(child, "close");
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    await eventually("its first words", () => output === "first\n");
    expect(child.exitCode).toBeNull();
    expect(await this.argus([...run, "touch", flag])).toMatchObject({ code: 0 });
    expect([await ended, output]).toEqual([[7, null], "first\nsecond\n"]);
  }

  /** The agent starts a program there, reads what it says while it runs, and its end. */
  async agentFollows(session: string, node: string): Promise<void> {
    const flag = `/tmp/argus-go-${randomUUID()}`;
    const script = `echo first; until [ -e ${flag} ]; do sleep 0.1; done; rm ${flag}; echo second`;
    const params = { argv: ["sh", "-c", script], yieldMs: 300 };
    const call = { node, command: "system.run", params };
    const started = await this.tool(session, "mcp__argus/node_invoke", call);
    expect(started).toContain('"running":true');
    const jobId = /"jobId":"([^"]+)"/.exec(started)?.[1] ?? "";
    const output = (more: object) =>
      this.tool(session, "mcp__argus/job_output", { node, jobId, ...more });
    const early = await output({ waitMs: 500 });
    expect(early).toMatch(/"stdout":"firstn".*"running":true/);
    const touch = ["run", "--session", session, node, "--", "touch", flag];
    expect(await this.argus(touch)).toMatchObject({ code: 0 });
    const late = await output({ stdoutOffset: "first\n".length, waitMs: 20_000 });
    expect(late).toMatch(/"stdout":"secondn".*"running":false.*"exitCode":0/);
  }
}

/** A session's own pod as a node: used by people from outside and by its own agent. */
export async function podIsANode(argus: Release, person: Person, session: string): Promise<void> {
  const node = `runtime:${session}`;
  const pods = await argus.ok(["get", "pods", "-l", `argus.dev/session=${session}`, "-o", "name"]);
  const pod = pods.trim().replace("pod/", "");
  const listed = await person.argus(["nodes", "--session", session]);
  expect(listed.stdout).toMatch(new RegExp(`^${node} .*connected`, "m"));
  const ran = await person.argus(["run", node, "--", "hostname"]);
  expect(ran).toEqual({ code: 0, stdout: `${pod}\n`, stderr: "" });
  await person.streams(session, node);
  expect(await person.tool(session, "mcp__argus/nodes_list", {})).toContain(`"nodeId":"${node}"`);
  const call = { node, command: "system.run", params: { argv: ["hostname"] } };
  expect(await person.tool(session, "mcp__argus/node_invoke", call)).toContain(pod);
}

/** Runs `use` with a session whose agent has an MCP server of its own, and looks for that server's key in the pod. */
export async function withOwnServer(
  argus: Release,
  { host, model, person }: { host: string; model: FakeModel; person: Person },
  use: (session: string) => Promise<void>,
): Promise<void> {
  const key = `k3y-${randomUUID()}`;
  const server = await startMcpServer({ key, host });
  try {
    const secret = ["create", "secret", "generic", KEYS, `--from-literal=headers=X-Key: ${key}`];
    await argus.ok(secret);
    await argus.ok(["apply", "-f", "-"], withServer(server.url));
    await argus.ok(["wait", "--for=condition=Ready", "argussession/tools", "--timeout=150s"]);
    const answer = await person.tool("tools", "mcp__tickets/lookup", { id: 7 });
    expect(answer).toContain("ticket 7 is open");
    expect(server.requests.length).toBeGreaterThan(0);
    await use("tools");
    await nowhere(person, key);
    expect(JSON.stringify(model.requests)).toContain("ticket 7 is open");
    expect(JSON.stringify(model.requests)).not.toContain(key);
  } finally {
    await server.close();
  }
}

const withServer = (url: string) =>
  JSON.stringify({
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusSession",
    metadata: { name: "tools" },
    spec: {
      heartbeat: { intervalSeconds: 0 },
      mcpServers: [
        { name: "tickets", url, headersFrom: { secretKeyRef: { name: KEYS, key: "headers" } } },
      ],
    },
  });

/** Neither in a file nor in an environment of the pod; the same search finds what is there. */
async function nowhere(person: Person, key: string): Promise<void> {
  // The pattern is not the text: it must not find itself.
  const pattern = (text: string) => `${text.slice(0, -1)}[${text.slice(-1)}]`;
  const search = async (text: string) => {
    const script = `grep -rIlsD skip --exclude-dir=proc --exclude-dir=sys -e '${pattern(text)}' / "$HOME"; grep -ls -e '${pattern(text)}' /proc/[0-9]*/environ; true`;
    const found = await person.argus(["run", "runtime:tools", "--", "sh", "-c", script]);
    expect(found).toMatchObject({ code: 0, stderr: "" });
    return found.stdout;
  };
  expect(await search("[mcp_servers.tickets]".slice(1, -1))).toContain("config.toml");
  expect(await search("HOME=")).toMatch(/environ/);
  expect(await search(key)).toBe("");
}
