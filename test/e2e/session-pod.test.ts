import { decodeJwt } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { POD } from "#protocol/pod.ts";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { eventually } from "#test/support/eventually.ts";
import { provideImages, whyNoImages } from "#test/support/images.ts";
import { proofSize } from "#test/support/proof.ts";
import { useCluster, whyNoCluster } from "../cluster/cluster.ts";
import {
  BOMB,
  bombRound,
  echo,
  NEIGHBOUR,
  p99,
  run,
  startThread,
  turnOf,
} from "./support/neighbour.ts";
import { MODEL_KEY, SessionPods } from "./support/session-pods.ts";

// The pods must reach this process, which stands for the gateway.
const reason = process.env.KUBECONFIG
  ? "KUBECONFIG names a cluster whose pods may not reach this machine"
  : (whyNoCluster() ?? (await whyNoImages()));
const MINUTES = 600_000;
if (reason) test.skip(`session pods on a real cluster (${reason})`, () => {});
else describe("session pods on a real cluster", { timeout: MINUTES }, sessionPods);

async function turn(peer: BridgePeer, text: string): Promise<string> {
  const end = await turnOf(peer, await startThread(peer), text);
  expect(end).toMatchObject({ status: "completed" });
  return peer.raw.join("");
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

  test("a fork bomb stops at its limit; its bridge and its neighbour answer", async () => {
    const bomb = await pods.create("bomb", 200_104, BOMB);
    const neighbour = await pods.create("neighbour", 200_105, NEIGHBOUR);
    for (let round = 0; round < proofSize(1, 4); round += 1) {
      const { quiet, loud, own, tasks } = await bombRound(bomb, neighbour);
      const [alone, beside, answer] = [quiet.turns, loud.turns, own].map((times) =>
        p99(times).toFixed(0),
      );
      console.info(`p99: turn ${alone} ms alone, ${beside} beside; bomb's bridge ${answer}`);
      console.info(`tasks ${tasks}`);
      expect(tasks).toBeLessThanOrEqual(128 + 16);
    }
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
