import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { startGateway } from "#gateway/gateway.ts";
import { silentLogger } from "#lib/logger.ts";
import { FakeKube } from "#test/fakes/kube.ts";
import { eventually } from "#test/support/eventually.ts";

test("a store that fails while the cluster is away ends the start instead of leaving it waiting", async () => {
  const stateFolder = await mkdtemp(join(tmpdir(), "argus-start-"));
  const stop = new AbortController();
  const kube = new FakeKube();
  kube.away = true;
  const worker = Promise.withResolvers<Worker>();
  process.once("worker", (made) => worker.resolve(made));
  const started = startGateway(
    {
      host: "127.0.0.1",
      port: 0,
      namespace: "default",
      stateFolder,
      adminToken: "admin-token-of-a-test",
      kube,
      model: { upstream: "" },
      sessionTemplate: {},
      logger: silentLogger(),
    },
    stop.signal,
  );
  const outcome = started.then(
    () => "started",
    (error: unknown) => String(error),
  );
  await eventually("it asks the cluster", () => kube.calls.length > 0);
  await (await worker.promise).terminate();
  expect(await outcome).toMatch(/state store/);
  await rm(stateFolder, { recursive: true });
}, 10_000);
