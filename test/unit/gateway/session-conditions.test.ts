import { expect, test } from "vitest";
import type { ArgusSession } from "#crds/kinds.ts";
import {
  findingsChangeInMs,
  gatewayFindings,
  type LaneFacts,
  STUCK_MS,
} from "#gateway/sessions/conditions.ts";
import { demandOf, mayStart } from "#gateway/sessions/demand.ts";
import { gatewayStatus, statusDiffers } from "#gateway/sessions/status.ts";
import { emptyDocument, type SessionDocument } from "#protocol/session-document.ts";

const NOW = 100 * STUCK_MS;
const input = (enqueuedAt: number) => ({
  id: "a",
  key: "a",
  text: "x",
  threadId: null,
  source: null,
  enqueuedAt,
});
const event = (kind: string) => ({
  id: "e",
  key: "e",
  kind,
  text: "x",
  threadId: null,
  source: { name: "s", uid: "u" },
  createdAt: NOW,
  wakes: true,
  tries: 0,
  notBefore: 0,
});
const turn = (startedAt: number) => ({
  id: "a",
  kind: "message" as const,
  inputId: "a",
  eventIds: [],
  threadId: null,
  startedAt,
});
const delivery = (createdAt: number, reason = "") => ({
  id: "d",
  target: { channel: "telegram", chatKey: "1" },
  kind: "message" as const,
  inputId: null,
  threadId: null,
  turnId: null,
  text: "x",
  canRetry: false,
  createdAt,
  notBefore: 0,
  attempts: 0,
  reason,
  claim: null,
  parts: null,
  sent: [],
  sending: null,
  again: false,
});
const doc = (more: Partial<SessionDocument> = {}): SessionDocument => ({
  ...emptyDocument("main"),
  ...more,
});
const facts = (more: Partial<LaneFacts> = {}): LaneFacts => ({
  document: doc(),
  unreadable: undefined,
  isRunning: false,
  waitsFor: "the pod is Pending",
  quietMs: (_of, stamp) => NOW - stamp,
  ...more,
});
const words = (of: LaneFacts) =>
  gatewayFindings(of).map(({ status, reason }) => `${status} ${reason}`);

const old = NOW - STUCK_MS;
test.for<[string, LaneFacts, string[]]>([
  ["nothing was written", facts({ document: undefined }), ["True Idle", "True Idle"]],
  ["nothing is open", facts(), ["True Idle", "True Idle"]],
  [
    "a fresh message",
    facts({ document: doc({ inputs: [input(NOW)] }) }),
    ["True Progressing", "True Idle"],
  ],
  [
    "an old message",
    facts({ document: doc({ inputs: [input(old)] }) }),
    ["False NoProgress", "True Idle"],
  ],
  [
    "an old message behind a turn that runs",
    facts({ document: doc({ inputs: [input(0)], turn: turn(0) }), isRunning: true }),
    ["True Progressing", "True Idle"],
  ],
  [
    "a turn that nobody can ask about",
    facts({ document: doc({ turn: turn(old) }) }),
    ["False NoProgress", "True Idle"],
  ],
  [
    "an answer on its way",
    facts({ document: doc({ deliveries: [delivery(NOW)] }) }),
    ["True Idle", "True Delivering"],
  ],
  [
    "an answer that nobody takes",
    facts({ document: doc({ deliveries: [delivery(old)] }) }),
    ["True Idle", "False NotDelivered"],
  ],
  [
    "a document that cannot be read",
    facts({ document: undefined, unreadable: "restore a backup" }),
    ["Unknown StateUnreadable", "Unknown StateUnreadable"],
  ],
])("%s", ([, of, [lane, deliveries]]) => {
  const readable = of.unreadable === undefined ? "True Readable" : "False Unreadable";
  expect(words(of)).toEqual([readable, lane, deliveries]);
});

test("a message says what it waits for, and time alone brings the next look", () => {
  const waiting = facts({ document: doc({ inputs: [input(NOW - 1000)] }) });
  expect(findingsChangeInMs(waiting)).toBe(STUCK_MS - 1000);
  const later = facts({ ...waiting, quietMs: () => STUCK_MS });
  expect(gatewayFindings(later)[1]?.message).toContain("the pod is Pending");
  expect(findingsChangeInMs(later)).toBeUndefined();
});

function session(change: { spec?: object; status?: object } = {}): ArgusSession {
  return {
    metadata: { name: "main", generation: 3 },
    spec: { operatingMode: "Running", idle: { suspendAfterSeconds: 60 }, ...change.spec },
    ...(change.status ? { status: change.status } : {}),
  } as unknown as ArgusSession;
}
const cold = (wakeOn: string[]) =>
  session({
    spec: { idle: { suspendAfterSeconds: 60, wakeOn } },
    status: { conditions: [{ type: "Suspended", status: "True" }] },
  });

test.for<[string, Parameters<typeof demandOf>[0], string]>([
  ["nothing", { document: doc(), isUsed: false, session: session() }, "None"],
  ["never written to", { document: undefined, isUsed: false, session: session() }, "None"],
  ["a client", { document: undefined, isUsed: true, session: session() }, "Open"],
  [
    "a message",
    { document: doc({ inputs: [input(0)] }), isUsed: false, session: session() },
    "Open",
  ],
  ["a turn", { document: doc({ turn: turn(0) }), isUsed: false, session: session() }, "Open"],
  [
    "a delivery",
    { document: doc({ deliveries: [delivery(0)] }), isUsed: false, session: session() },
    "Open",
  ],
  [
    "an event",
    { document: doc({ events: [event("cron")] }), isUsed: false, session: session() },
    "Open",
  ],
  [
    "cold, a slot",
    { document: doc({ events: [event("cron")] }), isUsed: false, session: cold(["Cron"]) },
    "Open",
  ],
  [
    "cold, a slot that does not wake",
    { document: doc({ events: [event("cron")] }), isUsed: false, session: cold(["Message"]) },
    "None",
  ],
  [
    "cold, the end of a job",
    { document: doc({ events: [event("process")] }), isUsed: false, session: cold(["Node"]) },
    "Open",
  ],
  [
    "cold, the end of a job that does not wake",
    { document: doc({ events: [event("process")] }), isUsed: false, session: cold(["Message"]) },
    "None",
  ],
  [
    "cold, a message",
    { document: doc({ inputs: [input(0)] }), isUsed: false, session: cold(["Message"]) },
    "Open",
  ],
  [
    "cold, a message that does not wake",
    { document: doc({ inputs: [input(0)] }), isUsed: false, session: cold(["Cron"]) },
    "None",
  ],
  [
    "cold, only an answer",
    { document: doc({ deliveries: [delivery(0)] }), isUsed: false, session: cold(["Message"]) },
    "None",
  ],
  [
    "cold, a client's line",
    { document: undefined, isUsed: true, session: cold(["Message"]) },
    "Open",
  ],
  [
    "cold, a turn that may run",
    { document: doc({ turn: turn(0) }), isUsed: false, session: cold([]) },
    "Open",
  ],
])("demand: %s", ([, of, wanted]) => {
  expect(demandOf(of)).toBe(wanted);
});

test.for<[string, ArgusSession, boolean]>([
  ["never suspended for idleness", session({ spec: { idle: { suspendAfterSeconds: 0 } } }), true],
  ["nothing said", session(), false],
  ["needed", session({ status: { activity: { demand: "Open" } } }), true],
  ["not needed", session({ status: { activity: { demand: "None" } } }), false],
  [
    "needed, but its pod is about to go",
    session({
      status: {
        activity: { demand: "Open" },
        conditions: [{ type: "Suspended", status: "False", reason: "Suspending" }],
      },
    }),
    false,
  ],
])("a turn may start: %s", ([, of, wanted]) => {
  expect(mayStart(of)).toBe(wanted);
});

test("the same facts write nothing, also under a new generation, and `since` moves only with the demand", () => {
  const findings = gatewayFindings(facts());
  const first = gatewayStatus(session(), { demand: "None", findings, now: new Date(1_000_000) });
  const known = { ...session({ status: first }), metadata: { name: "main", generation: 4 } };
  const again = gatewayStatus(known, { demand: "None", findings, now: new Date(9_000_000) });
  expect(statusDiffers(known, again)).toBe(false);
  const open = gatewayStatus(known, { demand: "Open", findings, now: new Date(9_000_000) });
  expect(open.activity).toEqual({ demand: "Open", since: "1970-01-01T02:30:00Z" });
});
