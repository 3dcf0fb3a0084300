import { randomUUID } from "node:crypto";
import { ArgusError } from "#lib/errors.ts";
import { EventKeyParams, EventListParams, EventParams } from "#protocol/event-methods.ts";
import { acceptEvent } from "../accept-event.ts";
import { eventRows, systemEvent } from "../event-view.ts";
import type { Lane } from "../lanes/lane.ts";
import { dropEvent, replayEvent } from "../state/events.ts";
import type { Method } from "./method.ts";

export const eventMethods: Record<string, Method> = {
  "argus/event/enqueue": enqueueEventOf,
  "argus/systemEvent/enqueue": enqueueEventOf,
  "argus/event/list": listEvents,
  "argus/event/replay": replay,
  "argus/event/drop": drop,
};

const CLIENT = { name: "client", uid: "client" };

async function enqueueEventOf(lane: Lane, params: unknown) {
  const wanted = EventParams.parse(params);
  const accepted = await acceptEvent(lane, { ...wanted, source: CLIENT });
  const named = wanted.target === "main" ? null : wanted.threadId;
  const facts = {
    ok: true,
    state: accepted.state,
    threadId: named ?? lane.state.current.mainThread,
  };
  if (accepted.state === "skipped") return { ...facts, reason: accepted.reason };
  return accepted.event ? { ...facts, event: systemEvent(accepted.event) } : facts;
}

async function listEvents(lane: Lane, params: unknown) {
  const { state, limit } = EventListParams.parse(params);
  const rows = eventRows(lane.state.current);
  const events = rows.filter((row) => state === undefined || row.state === state);
  return { ok: true, waitsFor: lane.waitsFor, events: events.slice(0, limit) };
}

async function replay(lane: Lane, params: unknown) {
  const { key } = EventKeyParams.parse(params);
  const facts = { key, id: randomUUID().replaceAll("-", ""), now: Date.now(), limit: lane.limit };
  const { state } = await lane.state.reduce((document) => replayEvent(document, facts));
  lane.wake();
  return { ok: true, key, state };
}

async function drop(lane: Lane, params: unknown) {
  const { key } = EventKeyParams.parse(params);
  const facts = { key, now: Date.now(), limit: lane.limit };
  const outcome = await lane.state.reduce((document) => dropEvent(document, facts));
  if (outcome === "dropped") return { ok: true, key };
  const message =
    outcome === "running"
      ? `The turn of event ${key} runs: interrupt the turn instead.`
      : `There is no open or dead event ${key} in this session.`;
  throw new ArgusError("InvalidInput", message, { key });
}
