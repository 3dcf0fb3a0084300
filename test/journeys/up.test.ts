import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ArgusUp, argus } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";

let up: ArgusUp;
beforeAll(async () => {
  up = await ArgusUp.start();
});
afterAll(async () => {
  await up.destroy();
});

const at = (...words: string[]) => [...words, "--data", up.data];
const chat = (message: string, session?: string) =>
  argus(at("chat", ...(session ? [session] : []), "--message", message));

test("the ready text names url, token, kubeconfig and the next command, and labels the echo", () => {
  const client = JSON.parse(readFileSync(join(up.data, "client.json"), "utf8")) as {
    url: string;
    token: string;
  };
  expect(up.output).toContain(client.url);
  expect(up.output).toContain(client.token);
  expect(up.output).toContain(`export KUBECONFIG=${up.data}/kubeconfig`);
  expect(up.output).toContain("./argus chat");
  expect(up.output).toContain("ECHO");
  expect(up.output).toContain("Not isolated");
  for (const secret of ["client.json", "kubeconfig", "private/token"]) {
    expect(statSync(join(up.data, secret)).mode & 0o777, secret).toBe(0o600);
  }
});

test("a message to main comes back from the echo, labelled as one", async () => {
  const { code, stdout, stderr } = await chat("hello there");
  expect(stderr).toContain("echo");
  expect(stdout).toContain("hello there");
  expect(code).toBe(0);
});

test("piped lines are messages in order, in the thread that was used last", async () => {
  const { code, stdout, stderr } = await argus(at("chat"), { input: "first\nsecond\n" });
  expect(code).toBe(0);
  expect(stderr).toContain("thread continued");
  expect(stdout.indexOf("first")).toBeGreaterThanOrEqual(0);
  expect(stdout.indexOf("second")).toBeGreaterThan(stdout.indexOf("first"));
});

test("a second up on the same folder is refused with who holds it", async () => {
  const { code, stderr } = await argus(at("up", "--port", "0", "--api-port", "0"));
  expect(code).toBe(75);
  expect(stderr).toMatch(/already runs here at http:\/\/127\.0\.0\.1:\d+ \(process \d+ since/);
  expect((await chat("still there")).code).toBe(0);
});

test("an example is applied, becomes ready, talks, is restarted and deleted", async () => {
  const example = join(import.meta.dirname, "..", "..", "examples", "session.yaml");
  const applied = await argus(at("apply", "-f", example));
  expect(applied).toMatchObject({ code: 0, stdout: "argussession/demo applied\n" });
  expect((await chat("to demo", "demo")).stdout).toContain("to demo");
  const listed = await argus(at("sessions"));
  expect(listed.stdout).toMatch(/^NAME +READY +REASON +AGE/);
  expect(listed.stdout).toMatch(/^demo +True/m);
  expect((await argus(at("sessions", "restart", "demo"))).code).toBe(0);
  expect((await chat("after the restart", "demo")).stdout).toContain("after the restart");
  expect((await argus(at("sessions", "delete", "demo", "--yes"))).code).toBe(0);
  await eventually("demo is gone", async () => {
    const { stdout } = await argus(at("sessions", "list", "--json"));
    return !stdout.includes('"demo"');
  });
});

test("a wrong field is refused with its name, a missing session with the list, a wrong token as such", async () => {
  const file = join(up.data, "wrong.yaml");
  const head = "apiVersion: argus.dev/v1alpha1\nkind: ArgusSession\nmetadata: { name: wrong }\n";
  writeFileSync(file, `${head}spec: { approvals: sometimes }\n`);
  const wrong = await argus(at("apply", "-f", file));
  expect(wrong.code).toBe(65);
  expect(wrong.stderr).toContain("spec.approvals");
  const unknown = await chat("x", "nobody");
  expect(unknown.code).toBe(66);
  expect(unknown.stderr).toContain("argus sessions");
  const refused = await argus(["chat", "--url", up.url, "--token", "wrong", "--message", "x"]);
  expect(refused.code).toBe(77);
});

test("a gateway and a controller that are killed come back, and it is said", async () => {
  for (const name of ["gateway", "controller"]) {
    const [victim] = up.find(`argus.mjs ${name}`);
    if (!victim) throw new Error(`no ${name}`);
    process.kill(victim.pid, "SIGKILL");
    await eventually(`${name} is back`, () => {
      const [now] = up.find(`argus.mjs ${name}`);
      return now && now.pid !== victim.pid;
    });
    expect(up.output).toContain(`${name} ended (signal SIGKILL); starting it again`);
  }
  await eventually("the gateway answers", async () => (await chat("back")).code === 0);
});

test("Ctrl-C leaves no process, and the next start finds sessions and threads", async () => {
  expect(await up.stop()).toBe(0);
  await eventually("nothing is left", () => up.processes().length === 0, 5_000);
  up = await ArgusUp.start({ data: up.data });
  const { code, stderr } = await chat("again");
  expect(code).toBe(0);
  expect(stderr).toContain("thread continued");
});

test("a terminal that is closed leaves no process either", async () => {
  const [supervisor] = up.find("argus.mjs up");
  if (!supervisor) throw new Error("no supervisor");
  process.kill(supervisor.pid, "SIGHUP");
  expect(await up.ended()).toBe(0);
  await eventually("nothing is left", () => up.processes().length === 0, 5_000);
  up = await ArgusUp.start({ data: up.data });
});

test("after kill -9 of everything the next start works and continues the thread", async () => {
  up.killAll();
  await up.stop();
  up = await ArgusUp.start({ data: up.data });
  const { code, stderr } = await chat("and again");
  expect(code).toBe(0);
  expect(stderr).toContain("thread continued");
});

test("after kill -9 of the supervisor alone the next start first ends what it left", async () => {
  const [supervisor] = up.find("argus.mjs up");
  if (!supervisor) throw new Error("no supervisor");
  const left = up.find("argus.mjs gateway").map(({ pid }) => pid);
  process.kill(supervisor.pid, "SIGKILL");
  await up.stop();
  up = await ArgusUp.start({ data: up.data });
  expect(up.output).toMatch(/ended \d+ processes that an earlier run left behind/);
  expect(up.processes().filter(({ pid }) => left.includes(pid))).toEqual([]);
  expect((await chat("once more")).code).toBe(0);
});
