import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { argus } from "#test/support/argus-up.ts";
import { Cutter } from "#test/support/cutter.ts";
import { clientOf, connected, joined, pair } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";
import { processesOf } from "#test/support/processes.ts";
import { Person } from "#test/support/terminal.ts";
import { bundleNodeHost } from "../../scripts/bundle.ts";

let rig: GatewayRig;
const hosts: NodeHostProcess[] = [];
const people: Person[] = [];
const closers: (() => Promise<unknown>)[] = [];
beforeEach(async () => {
  rig = await GatewayRig.start();
  rig.putSession("main");
});
afterEach(async () => {
  for (const person of people.splice(0)) person.end();
  for (const close of closers.splice(0)) await close();
  for (const host of hosts.splice(0)) await host.remove();
  await rig.stop();
});

const gateway = () => ({ url: rig.url, token: ADMIN });

async function device(policy?: object): Promise<NodeHostProcess> {
  const more = policy ? { policy } : {};
  const host = await joined(gateway(), { nodeId: "laptop", session: "main", ...more });
  hosts.push(host);
  return host;
}

/** A person's shell, in which `argus run -t` is started: what it leaves behind is seen. It also shows the typed line. */
function person(words: string[], url = rig.url): Person {
  const shell = new Person(["-i"], { program: "/bin/sh", cols: 91, rows: 31 });
  people.push(shell);
  const quoted = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
  shell.type(`./argus run -t --url ${url} --token ${ADMIN} laptop -- ${quoted}; echo "code=$?"\r`);
  return shell;
}

const sh = (script: string) => ["sh", "-c", script];

test("a program gets a terminal of the person's size, follows it, hears keys and Ctrl-C, and its exit code passes", async () => {
  await device();
  const shell = person(
    sh(
      'tty; echo "size=$(stty size) term=$TERM"; trap "echo size=\\$(stty size)" WINCH; trap "echo caught" INT; while :; do read line || continue; echo "got <$line>"; [ "$line" = end ] && exit 7; done',
    ),
  );
  await shell.sees(/\/dev\/pts\/\d+\r\nsize=31 91 term=xterm-256color/, 30_000);
  shell.type("héllo\r");
  await shell.sees("got <héllo>");
  shell.type("\u0003");
  await shell.sees("caught\r\n");
  shell.resize(120, 40);
  shell.type("\r");
  await shell.sees("size=40 120");
  shell.type("end\r");
  await shell.sees("code=7");
  // The terminal is the person's again: it echoes and edits lines.
  shell.type("stty -a | grep -o ' icanon\\| echo '\r");
  await shell.sees(/ icanon\r\n echo /);
}, 90_000);

test("all output of a program arrives before its end, and control bytes reach the terminal as they are", async () => {
  await device();
  const shell = person(sh("printf '\\033[1mbold\\033[0m\\n'; seq 1 20000; echo last"));
  await shell.sees("code=0", 60_000);
  const numbers = shell.output.match(/^\d+\r$/gm) ?? [];
  expect(shell.output).toContain("\u001b[1mbold\u001b[0m\r\n");
  expect(numbers.map(Number)).toEqual(Array.from({ length: 20_000 }, (_, index) => index + 1));
  expect(shell.output).toMatch(/20000\r\nlast\r\n/);
}, 90_000);

test("keys that are typed while connections are cut arrive once and in order", async () => {
  await device();
  const cutter = await Cutter.start(rig.gateway?.port ?? 0, () => 1200 + Math.random() * 1200);
  closers.push(() => cutter.stop());
  const shell = person(
    sh(
      'stty -echo; echo ready; while read line; do echo "[$line]"; [ "$line" = end ] && exit; done',
    ),
    `http://127.0.0.1:${cutter.port}`,
  );
  await shell.sees("ready\r\n", 30_000);
  const words = Array.from({ length: 80 }, (_, index) => `word${index}`);
  for (const word of words) {
    shell.type(`${word}\r`);
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  shell.type("end\r");
  await shell.sees("code=0", 60_000);
  expect(cutter.cuts).toBeGreaterThan(3);
  expect(shell.output.match(/\[word\d+\]/g)).toEqual(words.map((word) => `[${word}]`));
}, 120_000);

test("~. leaves the program, which runs on, and gives the terminal back, also without a gateway", async () => {
  const host = await device();
  const shell = person(
    sh("printf '\\033[?1049h'; echo there; read line; echo left behind; sleep 3033"),
  );
  await shell.sees("\u001b[?1049hthere\r\n", 30_000);
  await rig.stopGateway();
  shell.type("\r~.");
  await shell.sees(/left; it runs on as [\w-]{36}: argus jobs kill laptop/);
  await shell.sees("code=0");
  expect(shell.output).toContain("\u001b[?1049l");
  shell.type("stty -a | grep -o ' icanon'\r");
  await shell.sees(/ icanon\r\n/);
  const left = processesOf(host.folder).filter(({ command }) => command.includes("left behind"));
  expect(left.length).toBeGreaterThan(0);
}, 90_000);

test("the terminal's hang-up ends the program as a tree", async () => {
  const host = await device();
  const shell = person(sh("echo th''ere; sleep 3034"));
  await shell.sees("there\r\n", 30_000);
  for (const { pid, command } of processesOf(rig.url))
    if (/argus.* run -t/.test(command)) process.kill(pid, "SIGHUP");
  await eventually("it has ended", () =>
    processesOf(host.folder).every(({ command }) => !command.startsWith("sleep 3034")),
  );
}, 60_000);

test("a device that asks is asked once for the terminal, and not for each key", async () => {
  await device({ default: "ask" });
  const client = await clientOf(gateway(), "main");
  closers.push(() => client.close());
  const shell = person(sh('read line; echo "got <$line>"; read line'));
  const pending = async () =>
    (await client.request("argus/node/pending"))["approvals"] as {
      approvalId: string;
      summary: string;
    }[];
  const [asked] = await eventually("the question", async () => {
    const open = await pending();
    return open.length > 0 && open;
  });
  expect(asked?.summary).toContain("on a terminal, where more can be typed: sh -c");
  await client.request("argus/node/approve", { code: asked?.approvalId });
  shell.type("mine\r");
  await shell.sees("got <mine>", 30_000);
  expect(await pending()).toEqual([]);
}, 60_000);

test("without the library a terminal is refused with what to install, and the program does not run", async () => {
  const folder = await mkdtemp(join(tmpdir(), "argus-node-file-"));
  closers.push(() => rm(folder, { recursive: true }));
  const file = join(folder, "node-host.mjs");
  await bundleNodeHost(file);
  const host = await NodeHostProcess.make({ default: "allow" }, [process.execPath, file]);
  hosts.push(host);
  await pair(gateway(), host, { nodeId: "laptop", session: "main" });
  host.start(["run"]);
  await connected(gateway(), "laptop", "main");
  const client = await clientOf(gateway(), "main");
  closers.push(() => client.close());
  const params = { argv: ["touch", join(folder, "ran")], pty: true };
  const call = { node: "laptop", command: "system.run", params };
  const { error } = await client.request("argus/node/invoke", call);
  expect(error).toMatchObject({ code: "UNSUPPORTED" });
  expect((error as { message: string }).message).toContain("npm install @lydell/node-pty");
  const words = ["run", "-t", "--url", rig.url, "--token", ADMIN, "laptop", "--", "true"];
  expect(await argus(words)).toMatchObject({ code: 65 });
}, 60_000);

test("an agent starts a program on a terminal, types, resizes and reads it", async () => {
  await device();
  const client = await clientOf(gateway(), "main");
  closers.push(() => client.close());
  const ask = async (command: string, params: object) =>
    (await client.request("argus/node/invoke", { node: "laptop", command, params }))[
      "payload"
    ] as Record<string, unknown>;
  const argv = sh('stty size; read line; echo "got <$line>"; stty size');
  const { jobId } = await ask("system.run", { argv, pty: { cols: 100, rows: 30 }, yieldMs: 0 });
  await eventually("it has its size", async () =>
    String((await ask("process.logs", { jobId }))["stdout"]).includes("30 100"),
  );
  expect(await ask("process.resize", { jobId, cols: 50, rows: 20 })).toMatchObject({ cols: 50 });
  const typed = Buffer.from("hi\n").toString("base64");
  await ask("process.write", { jobId, dataBase64: typed, offset: 0 });
  await eventually("it ended", async () => {
    const { stdout, running } = await ask("process.logs", { jobId });
    return !running && String(stdout).endsWith("got <hi>\r\n20 50\r\n");
  });
  expect(await ask("system.run", { argv: ["/no/such"], pty: true })).toBeNull();
}, 60_000);
