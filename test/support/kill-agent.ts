import { spawn } from "node:child_process";
import { once } from "node:events";
import { isolationFacts, proveIsolation } from "#runtime/isolation.ts";
import { killAgent } from "#runtime/kill-agent.ts";
import { processesOf } from "./processes.ts";

// As a bridge would: starts an agent whose processes try to get away, then ends them. A job runs beside it, which is
// spared when the last word is "spare". node kill-agent.ts POD_UID [bridge] [spare]
const podUid = process.argv[2] ?? "";
const env = { ARGUS_POD_UID: podUid, PATH: "/usr/bin:/bin" };
const getAway = "setsid sleep 301 & (setsid sh -c 'sleep 302 & sleep 303' &) & sleep 304 & wait";
const agent = spawn("/bin/sh", ["-c", getAway], { env, detached: true, stdio: "ignore" });
await once(agent, "spawn");
const spares = process.argv.includes("spare");
const job = spares
  ? spawn("/bin/sh", ["-c", "(setsid sh -c 'sleep 306' &) ; sleep 307 & wait"], {
      env: { ...env, ARGUS_JOB_ID: "job-1" },
      detached: true,
      stdio: "ignore",
    })
  : undefined;
await once(process.stdin, "data");
process.stdin.destroy();
const isolation = proveIsolation(isolationFacts());
const spare = job ? [{ jobId: "job-1", supervisor: job.pid }] : [];
await killAgent({ isolation, podUid, spare });
const left = processesOf(podUid).filter(({ command }) => command.startsWith("sleep"));
console.log(`survived ${isolation}`);
for (const { command } of left.toSorted((a, b) => (a.command < b.command ? -1 : 1)))
  console.log(command.trim());
if (spares) for (const { pid } of left) process.kill(pid, "SIGKILL");
