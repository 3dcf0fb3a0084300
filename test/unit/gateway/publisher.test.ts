import { expect, test } from "vitest";
import type { KeyRing } from "#gateway/key-ring.ts";
import { startPublisher } from "#gateway/publisher.ts";
import { silentLogger } from "#lib/logger.ts";
import { FakeKube } from "#test/fakes/kube.ts";

test("who asks while keys are being published is served by the next publishing", async () => {
  const stop = new AbortController();
  const second = Promise.withResolvers<void>();
  let calls = 0;
  const keys = {
    publish: async () => {
      calls += 1;
      await new Promise((resolve) => setImmediate(resolve));
      if (calls === 1) publisher.again();
      else second.resolve();
    },
  };
  const publisher = startPublisher(
    {
      keys: keys as unknown as KeyRing,
      kube: new FakeKube(),
      namespace: "default",
      logger: silentLogger(),
    },
    stop.signal,
  );
  await second.promise;
  expect(calls).toBe(2);
  stop.abort();
  await publisher.closed;
}, 10_000);
