import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { POD } from "#protocol/pod.ts";
import { BOMBS } from "#test/support/bombs.ts";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { eventually } from "#test/support/eventually.ts";
import { provideImages, whyNoImages } from "#test/support/images.ts";
import { proofSize } from "#test/support/proof.ts";
import { useCluster, whyNoCluster } from "../cluster/cluster.ts";
import { MODEL_KEY, type SessionPod, SessionPods } from "./support/session-pods.ts";

// The pods must reach this process, which stands for the gateway.
const reason = process.env.KUBECONFIG
  ? "KUBECONFIG names a cluster whose pods may not reach this machine"
  : (whyNoCluster() ?? (await whyNoImages()));
const MINUTES = 600_000;
/** Of probing before and beside a bomb, which its bridge ends after 30 s. */
const WINDOWS = 9;
const WINDOW_MS = 2000;

if (reason) test.skip(`session pods on a real cluster (${reason})`, () => {});
else describe("session pods on a real cluster", { timeout: MINUTES }, sessionPods);

/** Runs bash scripts that `run` leaves in the home, as the agent's children; the app-server is the built-in echo. */
const AGENT = `while :; do
  if [ -e "$HOME/go" ]; then mv "$HOME/go" "$HOME/went"; /bin/bash "$HOME/went" & fi
  sleep 0.1
done >/dev/null 2>&1 &
exec "$@"`;
const echo = { command: ["/bin/sh", "-c", AGENT, "sh", "argus"], args: ["echo"] };
const run = (pod: SessionPod, script: string) =>
  pod.sh(`cat > ~/going <<'SCRIPT'\n${script}\nSCRIPT\nmv ~/going ~/go`);

async function turn(peer: BridgePeer, text: string): Promise<string> {
  const { thread } = await peer.request("thread/start", {});
  const { id: threadId } = thread as { id: string };
  const input = [{ type: "text", text, text_elements: [] }];
  await peer.request("turn/start", { threadId, input });
  const isEnd = ({ method, params }: { method?: string; params?: Record<string, unknown> }) =>
    method === "turn/completed" && params?.threadId === threadId;
  const end = await peer.waitFor("the end of the turn", isEnd);
  expect(end.params?.turn).toMatchObject({ status: "completed" });
  return peer.raw.join("");
}

const p99 = (sorted: number[]) => sorted[Math.floor((sorted.length - 1) * 0.99)] ?? 0;
const after = (ms: number) => {
  const end = performance.now() + ms;
  return () => performance.now() > end;
};

/** Of windows of sorted answer times: their p99s, and the p99 of all together. */
function figures(windows: number[][]): string {
  const sorted = (times: number[]) => times.toSorted((a, b) => a - b);
  const each = sorted(windows.map(p99));
  const median = each[Math.floor(each.length / 2)] ?? 0;
  const all = sorted(windows.flat());
  const range = `${each[0]?.toFixed(1)} – ${each.at(-1)?.toFixed(1)}`;
  return `p99 of ${windows.length} windows: median ${median.toFixed(1)} ms (${range}); of all ${all.length} answers ${p99(all).toFixed(1)} ms`;
}

function sessionPods(): void {
  let pods: SessionPods;
  beforeAll(async () => {
    const cluster = await useCluster();
    const images = await provideImages(cluster);
    pods = await SessionPods.start(cluster, images["argus-runtime"]);
  }, 2 * MINUTES);
  afterAll(() => pods?.stop(), MINUTES);

  test("Codex answers and runs a command in a restricted pod that holds no lasting secret", async () => {
    const pod = await pods.create("codex", 200_101, { approvals: "never" });
    const peer = await pod.join();
    expect(await turn(peer, "good morning")).toContain("You said: good morning");
    const said = await turn(
      peer,
      "run: id -u; touch /usr/x; readlink -f /root/.argus/workspace; pwd",
    );
    expect(said).toContain("200101");
    expect(said).toContain("Read-only file system");
    expect(said).toContain("/home/argus/workspace");
    peer.close();
    const status = await pod.status();
    expect(status).toMatchObject({ state: "hot", pidIsolation: "UniqueUid" });
    // One credential, for the gateway alone, for an hour at most.
    const token = decodeJwt(await pod.sh(`cat ${POD.tokenFile}`));
    expect(token.aud).toEqual(["argus-gateway"]);
    expect((token.exp ?? 0) - (token.iat ?? 0)).toBeLessThanOrEqual(3607);
    const find = "find / -xdev -path /proc -prune -o -name '*.key' -print -o -name token -print";
    expect(await pod.sh("ls /var/run/secrets")).toBe("argus\n");
    expect((await pod.sh(`${find} 2>/dev/null; true`)).replaceAll(POD.tokenFile, "").trim()).toBe(
      "",
    );
    const places = "/home /tmp /etc /var /run /proc/[0-9]*/environ /proc/[0-9]*/cmdline";
    // Written apart: the search itself must not be found.
    const [head, tail] = [MODEL_KEY.slice(0, 12), MODEL_KEY.slice(12)];
    const search = `k=${head}; k=$k${tail}; grep -rlsF -e "$k" ${places} | grep -v "^/proc/" ; true`;
    expect(await pod.sh(search)).toBe("");
    expect(pods.model.requests.length).toBeGreaterThan(2);
  });

  test("a CPU hog is throttled", async () => {
    const resources = { limits: { cpu: "500m" } };
    const pod = await pods.create("hog", 200_102, { runtime: echo, resources });
    const throttled = async () => {
      const files = "/sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat";
      const text = await pod.sh(`cat ${files} 2>/dev/null; true`);
      return Number(/nr_throttled (\d+)/.exec(text)?.[1]);
    };
    const before = await throttled();
    await run(pod, "while :; do :; done & while :; do :; done");
    await eventually("throttling", async () => (await throttled()) > before + 5);
  });

  test("a memory hog is ended by the kernel, and pod or bridge say so", async () => {
    const resources = { limits: { memory: "256Mi" } };
    const pod = await pods.create("eater", 200_103, { runtime: echo, resources });
    await run(pod, "perl -e 'my $all = q(x) x 6e8; sleep 60'");
    // Where a group dies together (cgroup v2) the container does; else the one process, and the bridge tells.
    const told = await eventually("the cause", async () => {
      const { lastState } = await pod.containerStatus();
      if (lastState?.terminated) return lastState.terminated.reason;
      return (await pod.status()).killed?.reason;
    });
    expect(told).toBe("OOMKilled");
  });

  test("a fork bomb stops at its limit; its bridge answers and its neighbour is little slower", async () => {
    const resources = { limits: { cpu: "500m" } };
    const options = { runtime: echo, resources, limits: { pids: 128 } };
    const bomb = await pods.create("bomb", 200_104, options);
    const neighbour = await pods.create("neighbour", 200_105, options);
    const rounds = proofSize(1, 4);
    const quiet: number[][] = [];
    const loud: number[][] = [];
    const own: number[][] = [];
    let most = 0;
    for (let round = 0; round < rounds; round += 1) {
      for (let i = 0; i < WINDOWS; i += 1) quiet.push(await neighbour.probe(after(WINDOW_MS)));
      await run(bomb, BOMBS["fork loop"] ?? "");
      await eventually("the limit", async () => {
        const { pids } = await bomb.status();
        return pids !== undefined && pids.used >= 125;
      });
      for (let i = 0; i < WINDOWS; i += 1) {
        const both = [neighbour.probe(after(WINDOW_MS)), bomb.probe(after(WINDOW_MS))] as const;
        const [beside, inside] = await Promise.all(both);
        loud.push(beside);
        own.push(inside);
        most = Math.max(most, (await bomb.status()).pids?.used ?? 0);
      }
      await eventually("the bridge ends it", async () => {
        const { killed, restarts, state } = await bomb.status();
        return killed?.reason === "PidLimit" && restarts === round + 1 && state === "hot";
      });
      const gone = async () => ((await bomb.status()).pids?.used ?? 999) < 60;
      await eventually("the load is gone", gone, 20_000);
    }
    for (const [name, windows] of Object.entries({ quiet, "beside the bomb": loud, bomb: own })) {
      console.info(`${name}: ${figures(windows)}`);
    }
    console.info(`tasks ${most}`);
    expect(most).toBeLessThanOrEqual(128 + 16);
    expect((await bomb.containerStatus()).restartCount).toBe(0);
  });

  test("with hostUsers: false the pod has ids of its own, and the bridge has seen it", async () => {
    const podTemplate = { spec: { hostUsers: false } };
    const pod = await pods.create("mapped", 1000, { runtime: echo, podTemplate });
    expect(await pod.status()).toMatchObject({ pidIsolation: "UserNamespace" });
    const map = await pod.sh("cat /proc/self/uid_map");
    expect(map.trim().split(/\s+/)[1]).not.toBe("0");
  });
}
