import { spawn } from "node:child_process";
import { once } from "node:events";
import { isolationFacts, proveIsolation } from "#runtime/isolation.ts";
import { killAgent } from "#runtime/kill-agent.ts";

// As a bridge would: starts an agent whose processes try to get away, then ends them. node kill-agent.ts POD_UID
const podUid = process.argv[2] ?? "";
const env = { ARGUS_POD_UID: podUid, PATH: "/usr/bin:/bin" };
const getAway = "setsid sleep 301 & (setsid sh -c 'sleep 302 & sleep 303' &) & sleep 304 & wait";
const agent = spawn("/bin/sh", ["-c", getAway], { env, detached: true, stdio: "ignore" });
await once(agent, "spawn");
await once(process.stdin, "data");
process.stdin.destroy();
const isolation = proveIsolation(isolationFacts());
await killAgent({ isolation, podUid });
console.log(`survived ${isolation}`);
