import { expect, onTestFinished, test } from "vitest";
import { startInformer } from "#cluster/informer.ts";
import { argusSessions, pods } from "#cluster/resources.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { Directory } from "#gateway/directory.ts";
import type { Lane } from "#gateway/lanes/lane.ts";
import type { Lanes } from "#gateway/lanes/lanes.ts";
import type { Pod } from "#gateway/pod.ts";
import { SessionKeeper } from "#gateway/sessions/keeper.ts";
import { enqueue } from "#gateway/state/inputs.ts";
import { silentLogger } from "#lib/logger.ts";
import { emptyDocument, type SessionDocument } from "#protocol/session-document.ts";
import { FakeKube } from "#test/fakes/kube.ts";
import { eventually } from "#test/support/eventually.ts";
import { ManualClock } from "#test/support/manual-clock.ts";

const NAMESPACE = "default";
const MINUTE = 60_000;

/** The real keeper over an API in memory, on a clock that a test moves. */
async function start() {
  const stop = new AbortController();
  const kube = new FakeKube();
  const clock = new ManualClock();
  const logger = silentLogger();
  const session = kube.put(argusSessions, {
    metadata: { name: "main", namespace: NAMESPACE },
    spec: { operatingMode: "Running" },
  } as unknown as ArgusSession);
  const about = { namespace: NAMESPACE, logger };
  const sessions = startInformer<ArgusSession>(kube, argusSessions, about, stop.signal);
  const sessionPods = startInformer<Pod>(kube, pods, about, stop.signal);
  await Promise.all([sessions.synced(stop.signal), sessionPods.synced(stop.signal)]);
  const seen = { kube, namespace: NAMESPACE, sessions, pods: sessionPods, template: {} };
  const directory = new Directory(seen);
  const more = { isBridgeUsed: async () => false, forget: async () => undefined };
  const keeper = new SessionKeeper({ kube, clock, logger, directory, ...more }, stop.signal);
  keeper.begin({} as Lanes);
  onTestFinished(async () => {
    stop.abort();
    await keeper.closed;
  });
  return { kube, clock, keeper, session };
}

type Started = Awaited<ReturnType<typeof start>>;

function conditionOf({ kube, session }: Started, type: string) {
  const { name } = session.metadata;
  const object = [...kube.objects.values()].find(
    ({ kind, metadata }) => kind !== "Event" && metadata.name === name,
  ) as ArgusSession | undefined;
  return object?.status?.conditions?.find((each) => each.type === type);
}

const shows = (started: Started, status: string, reason: string) =>
  eventually(`LaneProgressing is ${status} ${reason}`, async () => {
    // A write's wait for its own echo.
    await started.clock.advance(100);
    const found = conditionOf(started, "LaneProgressing");
    return found?.status === status && found.reason === reason && found;
  });

test("a lane without progress for ten minutes says so with what it waits for, until it moves on", async () => {
  const started = await start();
  const { clock, keeper, session } = started;
  const { uid = "" } = session.metadata;
  const state = { current: emptyDocument("main") };
  const words = "The session's pod cannot be scheduled: no node has the memory.";
  const lane = { state, running: "", waitsFor: words } as unknown as Lane & { waitsFor: string };
  const tell = (document: SessionDocument) => {
    state.current = document;
    keeper.changed(uid, lane, "main");
  };
  const wanted = { id: "in-1", key: "k", text: "hello", threadId: null, source: null };
  const { document } = enqueue(state.current, { ...wanted, now: clock.now(), limit: 512 * 1024 });
  tell(document);
  await shows(started, "True", "Progressing");
  await clock.advance(9 * MINUTE);
  expect(conditionOf(started, "LaneProgressing")?.reason).toBe("Progressing");
  // Nothing happens any more: time alone tells.
  await clock.advance(MINUTE);
  const stuck = await shows(started, "False", "NoProgress");
  expect(stuck.message).toContain("no progress for 10 minutes");
  expect(stuck.message).toContain(words);
  await clock.advance(50 * MINUTE);
  expect(conditionOf(started, "LaneProgressing")?.status).toBe("False");
  tell({ ...document, inputs: [] });
  await shows(started, "True", "Idle");
});
