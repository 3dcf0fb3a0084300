import fc from "fast-check";
import { expect, test } from "vitest";
import { enqueueEvent } from "#gateway/state/events.ts";
import { cancel, enqueue } from "#gateway/state/inputs.ts";
import { nextWork } from "#gateway/state/next.ts";
import { claim, partOutcome, sendingPart } from "#gateway/state/outbox.ts";
import { documentBytes } from "#gateway/state/room.ts";
import { begin, endTurn } from "#gateway/state/turns.ts";
import { fromVersion1 } from "#gateway/state/version-1.ts";
import type { PartOutcome } from "#protocol/channel.ts";
import { emptyDocument, SessionDocument } from "#protocol/session-document.ts";

const BY = { adapter: "a", epoch: 1 };
const source = { name: "n", uid: "u" };
const text = fc.oneof(
  fc.string({ minLength: 1, maxLength: 100 }),
  fc.integer({ min: 1, max: 60_000 }).map((length) => "é".repeat(Math.ceil(length / 2))),
);
const command = fc.oneof(
  fc.record({ do: fc.constant("message" as const), text }),
  fc.record({
    do: fc.constant("event" as const),
    text,
    policy: fc.constantFrom(...(["Allow", "Forbid", "Replace"] as const)),
  }),
  fc.record({ do: fc.constant("cancel" as const) }),
  fc.record({ do: fc.constant("begin" as const) }),
  fc.record({
    do: fc.constant("end" as const),
    outcome: fc.constantFrom(...(["done", "failed", "interrupted", "refused", "unknown"] as const)),
    ranTool: fc.boolean(),
    text,
  }),
  fc.record({
    do: fc.constant("send" as const),
    state: fc.constantFrom(...(["sent", "notSent", "unknown", "refused"] as const)),
  }),
);
type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

interface At {
  id: string;
  now: number;
  limit: number;
}

/** One command as the gateway would give it; refused ones change nothing. */
function apply(
  document: SessionDocument,
  wanted: Command,
  { id, now, limit }: At,
): SessionDocument {
  const at = { now, limit };
  const { turn, inputs } = document;
  if (wanted.do === "message") {
    const chat = { channel: "c", chatKey: String(now % 3) };
    const input = { id, key: id, text: wanted.text, threadId: null, source: chat };
    return enqueue(document, { ...input, ...at }).document;
  }
  if (wanted.do === "event") {
    const event = { id, key: id, kind: "cron", threadId: null, source, wakes: true };
    const { text, policy } = wanted;
    return enqueueEvent(document, { ...event, text, policy, ...at }).document;
  }
  if (wanted.do === "cancel")
    return cancel(document, { id: inputs.at(-1)?.id ?? "", ...at }).document;
  if (wanted.do === "begin") {
    const work = nextWork(document, now, null);
    return work.do === "start" ? begin(document, { ...work.plan, id }, now).document : document;
  }
  if (wanted.do === "send") return sent(document, wanted.state, at);
  const { do: _, ...end } = wanted;
  const facts = { id: turn?.id ?? "", reason: "because", threadId: "t", turnId: "x", ...at };
  return endTurn(document, { ...end, ...facts }).document;
}

function sent(
  document: SessionDocument,
  state: PartOutcome["state"],
  at: Omit<At, "id">,
): SessionDocument {
  const id = document.deliveries[0]?.id ?? "";
  const taken = claim(document, { id, by: BY, channel: "c", leaseMs: 1, ...at });
  if (!taken.answer) return taken.document;
  const part = { id, by: BY, mode: "send", parts: 1, leaseMs: 1, now: at.now } as const;
  const outcome: PartOutcome = state === "sent" ? { state, ref: "r" } : { state, reason: "why" };
  return partOutcome(sendingPart(taken.document, part).document, { id, by: BY, outcome, ...at })
    .document;
}

test.each([512 * 1024, 2 * 1024 * 1024])(
  "whatever comes, the document stays within its schema and %i bytes",
  (limit) => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 400, size: "max" }), (commands) => {
        let document: SessionDocument = {
          ...emptyDocument("s"),
          home: { channel: "c", chatKey: "home" },
        };
        let accepted = 0;
        for (const [index, each] of commands.entries()) {
          try {
            const next = apply(document, each, {
              id: `id-${index}`,
              now: 1000 + index * 700,
              limit,
            });
            if (next !== document && (each.do === "message" || each.do === "event")) accepted += 1;
            document = next;
          } catch (error) {
            // Only what comes from outside may be refused.
            expect(["message", "event"]).toContain(each.do);
            expect(error).toMatchObject({
              code: expect.stringMatching(/Busy|InvalidInput|TooLarge/),
            });
          }
          if (index % 16 !== 0) continue;
          const bytes = Buffer.byteLength(JSON.stringify(document));
          expect(bytes).toBeLessThanOrEqual(documentBytes(document));
          expect(bytes).toBeLessThanOrEqual(limit);
        }
        SessionDocument.parse(document);
        const open = document.inputs.length + document.events.length;
        // Nothing vanishes: each accepted entry is open or ended (the lists are long enough for all of them here).
        const ended = document.ended.length + document.endedEvents.length;
        if (ended < 50) expect(open + ended).toBeGreaterThanOrEqual(accepted);
      }),
      { numRuns: 60 },
    );
  },
);

test("a document of version 1 keeps its messages, and a started one becomes the open turn", () => {
  const input = {
    id: "a",
    key: "k",
    text: "hi",
    threadId: null,
    source: null,
    enqueuedAt: 5,
    state: "started",
  };
  const body = { schemaVersion: 1, name: "s", mainThread: "m", inputs: [input], ended: [] };
  const document = SessionDocument.parse(fromVersion1(body));
  expect(document).toMatchObject({
    mainThread: "m",
    inputs: [{ id: "a", text: "hi" }],
    turn: { id: "a", kind: "message", inputId: "a", threadId: "m" },
  });
});
