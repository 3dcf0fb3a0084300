import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import type { Pod } from "#cluster/core-types.ts";
import { BridgeReader } from "#controller/session/bridge-reader.ts";
import { silentLogger } from "#lib/logger.ts";
import type { BridgeStatus } from "#protocol/bridge.ts";
import { POD } from "#protocol/pod.ts";
import { eventually } from "../../support/eventually.ts";
import { podOf, sessionOf } from "../../support/sessions.ts";

const STATUS: BridgeStatus = {
  boot: "boot",
  seq: 0,
  state: "hot",
  peers: 0,
  busyThreads: 0,
  openApprovals: 0,
  restarts: 0,
  garbageLines: 0,
  install: { state: "none" },
  pidIsolation: "UniqueUid",
};

function runningPod(uid: string, port: number): Pod {
  const pod = podOf(sessionOf(), {
    phase: "Running",
    podIP: "127.0.0.1",
    conditions: [{ type: "Ready", status: "True" }],
    containerStatuses: [{ name: "agent", state: { running: {} } }],
  });
  const ports = [{ name: POD.ports.probe.name, containerPort: port }];
  const containers = pod.spec.containers.map((each) => ({ ...each, ports }));
  return { ...pod, metadata: { ...pod.metadata, uid }, spec: { ...pod.spec, containers } };
}

test("of many pods that are due at once each is read without another look, a bounded number at a time", async () => {
  const held: ServerResponse[] = [];
  const server = createServer((_, answer) => held.push(answer));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const told: string[] = [];
  const onChange = ({ metadata }: Pod) => told.push(metadata.uid ?? "");
  const reader = new BridgeReader({ logger: silentLogger(), onChange });
  const pods = Array.from({ length: 200 }, (_, index) => runningPod(`pod-${index}`, port));
  for (const pod of pods) expect(reader.status(pod)).toBeUndefined();
  // Asked again meanwhile: no second reading.
  for (const pod of pods) reader.status(pod);
  await eventually("the first have asked", () => held.length === 64);
  for (let read = 0; read < 200; ) {
    await eventually("some have asked", () => held.length > 0);
    const answers = held.splice(0);
    expect(answers.length).toBeLessThanOrEqual(64);
    for (const answer of answers) answer.end(JSON.stringify(STATUS));
    read += answers.length;
    await eventually("they are told", () => told.length === read);
  }
  expect(new Set(told).size).toBe(200);
  for (const pod of pods) expect(reader.status(pod)).toMatchObject({ state: "hot" });
});
