import { readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { parentPort, threadId, workerData } from "node:worker_threads";
import { ArgusError } from "#lib/errors.ts";
import { DocumentTable } from "./database.ts";
import { failureWords, isFull, SQLITE, sqliteCode } from "./failures.ts";
import type {
  Changes,
  Operation,
  Outcome,
  PlainError,
  StoreReply,
  StoreRequest,
} from "./protocol.ts";
import { UnreadableDocument } from "./unreadable.ts";

/** The store's thread: a sync blocks here and nowhere else. Commits that arrive during one share the next. */
const RETRY_MS = 250;

const { folder } = workerData as { folder: string };
const holderFile = join(folder, "holder.json");
const port = parentPort;
let waiting: StoreRequest[] = [];
let table: DocumentTable | undefined;
let lastHolder = "";

const reply = (message: StoreReply) => port?.postMessage(message);

function open(): void {
  try {
    table = new DocumentTable(join(folder, "state.db"));
  } catch (error) {
    const code = sqliteCode(error);
    if (code !== SQLITE.busy && code !== SQLITE.locked) return fatal(error);
    tellHolder();
    setTimeout(open, RETRY_MS);
    return;
  }
  writeHolder();
  reply({ event: "open" });
  work();
}

/** For whoever waits for the store; without it, on a full disk for example, that one only knows less. */
function writeHolder(): void {
  const holder = { pid: process.pid, host: hostname(), since: new Date().toISOString() };
  try {
    writeFileSync(holderFile, JSON.stringify(holder));
  } catch {
    lastHolder = "";
  }
}

function tellHolder(): void {
  const holder = readHolder();
  if (holder === lastHolder) return;
  lastHolder = holder;
  reply({ event: "held", holder });
}

function readHolder(): string {
  try {
    const { pid, host, since } = JSON.parse(readFileSync(holderFile, "utf8")) as Record<
      string,
      unknown
    >;
    return `process ${String(pid)} on ${String(host)}, since ${String(since)}`;
  } catch {
    return "a process that has not written its name";
  }
}

function fatal(error: unknown): void {
  reply({ event: "fatal", message: failureWords(error, folder) });
  port?.close();
}

/** Everything that waits: all changes with one sync, then everything else in one transaction. Answers leave only after it. */
function work(): void {
  if (!table || waiting.length === 0) return;
  const open = table;
  const batch = waiting;
  waiting = [];
  const isChanges = (request: StoreRequest) => request.op === "changes";
  const changes = batch.filter(isChanges);
  const others = batch.filter((request) => !isChanges(request));
  try {
    const outcomes = [
      ...durable(changes, (run) => {
        run();
        open.flush();
      }),
      ...durable(others, (run) => open.transaction(run)),
    ];
    reply({ event: "outcomes", outcomes, whole: open.due() });
  } catch (error) {
    return fatal(error);
  }
  if (batch.some(({ op }) => op === "close")) close();
}

/** The outcomes of requests that are done together; on a full disk none of them is. Throws what ends the store. */
function durable(requests: StoreRequest[], together: (run: () => void) => void): Outcome[] {
  if (requests.length === 0 || !table) return [];
  const open = table;
  const outcomes: Outcome[] = [];
  try {
    together(() => {
      for (const request of requests) outcomes.push(answer(open, request));
    });
    return outcomes;
  } catch (error) {
    if (!isFull(error)) throw error;
    const full = "The disk of the state store is full: free some space.";
    return requests.map(({ id }) => ({ id, error: plain(new ArgusError("Unavailable", full)) }));
  }
}

function answer(open: DocumentTable, request: StoreRequest): Outcome {
  if (request.op === "changes") return { id: request.id, refused: change(open, request) };
  try {
    return { id: request.id, value: run(open, request) };
  } catch (error) {
    return { id: request.id, error: refusal(error) };
  }
}

function change(open: DocumentTable, changes: Changes): [number, PlainError][] {
  const refused: [number, PlainError][] = [];
  const whole = new Set(changes.whole);
  let at = 0;
  for (const [place, length] of changes.lengths.entries()) {
    const bytes = changes.bytes.subarray(at, (at += length));
    try {
      const uid = changes.uids[place] ?? "";
      open.change(uid, changes.expected[place] ?? 0, bytes, whole.has(place));
    } catch (error) {
      refused.push([place, refusal(error)]);
    }
  }
  return refused;
}

/** Only our own refusals belong to one request; a failing database ends the batch. */
function refusal(error: unknown): PlainError {
  if (error instanceof ArgusError) return plain(error);
  throw error;
}

function run(open: DocumentTable, request: Operation): unknown {
  switch (request.op) {
    case "read":
      return open.read(request.uid);
    case "commit":
      return open.commit(request.uid, request.expected, request.body);
    case "overwrite":
      return open.overwrite(request.uid, request.body);
    case "list":
      return open.list();
    case "remove":
      return open.remove(request.uid, request.expected);
    case "close":
      return null;
    default:
      throw new ArgusError("Internal", "The store was asked for something unknown.");
  }
}

function plain(error: ArgusError): PlainError {
  const { code, message, facts } = error;
  const reason = error instanceof UnreadableDocument ? { reason: error.reason } : {};
  return { code, message, facts: { ...facts }, ...reason };
}

function close(): void {
  table?.close();
  port?.close();
}

port?.on("message", (requests: StoreRequest[]) => {
  if (waiting.length === 0) setImmediate(work);
  waiting.push(...requests);
  if (!table && requests.some(({ op }) => op === "close")) process.exit(0);
});
if (threadId > 0) open();
