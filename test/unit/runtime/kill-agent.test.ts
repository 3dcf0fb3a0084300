import { spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { eventually } from "../../support/eventually.ts";
import { processesOf } from "../../support/processes.ts";

const runner = join(import.meta.dirname, "../../support/kill-agent.ts");

test.skipIf(process.platform !== "linux")(
  "ends the agent and what ran away from it, spares a neighbour, its ancestors and itself",
  async () => {
    const [podUid, neighbour] = [randomUUID(), randomUUID()];
    const options = { env: { ARGUS_POD_UID: neighbour, PATH: "/usr/bin:/bin" } };
    const other = spawn("sleep", ["305"], options);
    // The parent carries the pod's mark too, as the reaper of a pod does.
    const words = ["-c", '"$0" "$@"; echo "parent lives"', process.execPath, runner, podUid];
    const parent = spawn("/bin/sh", words, {
      env: { ARGUS_POD_UID: podUid, PATH: "/usr/bin:/bin" },
      stdio: ["pipe", "pipe", "inherit"],
    });
    const sleeps = () => processesOf(podUid).filter(({ command }) => command.startsWith("sleep"));
    await eventually("the agent and its runaways", () => sleeps().length === 4);
    parent.stdin.write("now\n");
    const said = Buffer.concat((await parent.stdout.toArray()) as Buffer[]).toString();
    expect(said).toBe("survived Degraded\nparent lives\n");
    expect(sleeps()).toEqual([]);
    expect(other.exitCode ?? other.signalCode).toBeNull();
    const ended = once(other, "exit");
    other.kill("SIGKILL");
    await ended;
  },
);

/** A process namespace with ids of its own, as a pod with `hostUsers: false` has. */
const NAMESPACE = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
const canMakeNamespace = spawnSync("unshare", [...NAMESPACE, "true"]).status === 0;

test.skipIf(!canMakeNamespace).each([
  ["it ends everything with one call and survives", ["bridge"], []],
  ["jobs are spared with what ran away from them", ["bridge", "spare"], ["sleep 306", "sleep 307"]],
])("in a namespace of its own under a reaper %s", async (_, modes, left) => {
  const folder = mkdtempSync(join(tmpdir(), "argus-kill-"));
  // A script's process bears the script's name; this shell waits for its children, as a reaper does.
  const reaper = join(folder, "tini");
  writeFileSync(reaper, '#!/bin/sh\nexec 3<&0\n"$@" <&3 &\nwait $!\n');
  chmodSync(reaper, 0o755);
  const podUid = randomUUID();
  const words = [...NAMESPACE, reaper, process.execPath, runner, podUid, ...modes];
  const outer = spawn("unshare", words, {
    env: { ARGUS_POD_UID: podUid, PATH: "/usr/sbin:/usr/bin:/bin" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const sleeps = () => processesOf(podUid).filter(({ command }) => command.startsWith("sleep"));
  await eventually("all of them", () => sleeps().length === 4 + left.length);
  outer.stdin.write("now\n");
  const said = Buffer.concat((await outer.stdout.toArray()) as Buffer[]).toString();
  expect(said).toBe(["survived UserNamespace", ...left, ""].join("\n"));
  expect(sleeps()).toEqual([]);
  rmSync(folder, { recursive: true });
});
