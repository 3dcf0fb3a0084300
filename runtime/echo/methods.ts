import type { z } from "zod";
import { Params, page, readParams } from "./params.ts";
import type { EchoService } from "./service.ts";
import { MODEL_ROW, type Turn, turnView } from "./shapes.ts";

type Method = (service: EchoService, params: unknown) => unknown;

function method<T>(schema: z.ZodType<T>, run: (service: EchoService, params: T) => unknown) {
  return (service: EchoService, params: unknown) => run(service, readParams(schema, params));
}

const newestFirst = <T>(rows: T[], direction: "asc" | "desc" | null | undefined) =>
  direction === "asc" ? rows : rows.toReversed();

async function listTurns(service: EchoService, given: z.infer<typeof Params.turnsList>) {
  const turns = await service.readable(given.threadId).turns();
  const { data, nextCursor } = page(newestFirst(turns, given.sortDirection), given);
  const view = given.itemsView ?? "summary";
  return { data: data.map((turn) => turnView(turn, view)), nextCursor, backwardsCursor: null };
}

async function listItems(service: EchoService, given: z.infer<typeof Params.itemsList>) {
  const turns = await service.readable(given.threadId).turns();
  const wanted = (turn: Turn) => !given.turnId || turn.id === given.turnId;
  const rows = turns
    .filter(wanted)
    .flatMap(({ id: turnId, items }) => items.map((item) => ({ turnId, item })));
  const sorted = given.sortDirection === "desc" ? rows.toReversed() : rows;
  return { ...page(sorted, given), backwardsCursor: null };
}

function listThreads({ threads }: EchoService, given: z.infer<typeof Params.threadList>) {
  const rows = threads
    .all()
    .filter(({ stored, facts }) => stored && facts.archived === (given.archived ?? false))
    .sort((a, b) => a.facts.updatedAtMs - b.facts.updatedAtMs);
  const { data, nextCursor } = page(newestFirst(rows, given.sortDirection), given);
  return { data: data.map((thread) => thread.view()), nextCursor, backwardsCursor: null };
}

async function readThread(service: EchoService, given: z.infer<typeof Params.threadRead>) {
  const thread = service.readable(given.threadId);
  const turns = given.includeTurns ? await thread.turns() : [];
  return { thread: thread.view(turns.map((turn) => turnView(turn, "full"))) };
}

const loadedIds = ({ threads }: EchoService) =>
  threads
    .all()
    .filter(({ loaded }) => loaded)
    .map(({ facts }) => facts.id);

export const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["thread/start", method(Params.threadStart, (service, given) => service.startThread(given))],
  ["thread/resume", method(Params.threadResume, (service, given) => service.resumeThread(given))],
  ["thread/read", method(Params.threadRead, readThread)],
  ["thread/list", method(Params.threadList, listThreads)],
  ["thread/turns/list", method(Params.turnsList, listTurns)],
  ["thread/items/list", method(Params.itemsList, listItems)],
  [
    "thread/loaded/list",
    method(Params.any, (service) => ({ data: loadedIds(service), nextCursor: null })),
  ],
  ["thread/name/set", method(Params.threadName, (service, given) => service.nameThread(given))],
  ["thread/archive", method(Params.thread, (s, { threadId }) => s.archiveThread(threadId, true))],
  [
    "thread/unarchive",
    method(Params.thread, (s, { threadId }) => s.archiveThread(threadId, false)),
  ],
  ["turn/start", method(Params.turnStart, (service, given) => service.startTurn(given))],
  ["turn/steer", method(Params.turnSteer, (service, given) => service.steerTurn(given))],
  [
    "turn/interrupt",
    method(Params.turnInterrupt, (service, given) => service.interruptTurn(given)),
  ],
  ["model/list", method(Params.any, () => ({ data: [MODEL_ROW], nextCursor: null }))],
  [
    "thread/backgroundTerminals/list",
    method(Params.thread, () => ({ data: [], nextCursor: null })),
  ],
  ["thread/backgroundTerminals/clean", method(Params.thread, () => ({}))],
]);

/** They need the capability `experimentalApi`. */
export const EXPERIMENTAL: readonly string[] = [
  "thread/backgroundTerminals/list",
  "thread/backgroundTerminals/clean",
];
