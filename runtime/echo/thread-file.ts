import { createReadStream } from "node:fs";
import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { ArgusError, isErrno } from "#lib/errors.ts";
import { LineSplitter } from "#lib/lines.ts";
import type { Item, ThreadFacts, Turn, TurnError, TurnStatus } from "./shapes.ts";

/** A line of a thread's file. */
export type ThreadRecord =
  | { record: "thread"; thread: ThreadFacts }
  | { record: "facts"; name?: string; archived?: boolean }
  | { record: "turn"; turnId: string; atMs: number }
  | { record: "item"; turnId: string; item: Item }
  | { record: "end"; turnId: string; status: TurnStatus; error: TurnError | null; atMs: number };

export interface ThreadContent {
  thread: ThreadFacts;
  /** Oldest first. One without an end was interrupted by the end of its process. */
  turns: Turn[];
}

const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** Of a file; its thread takes no more turns then. */
export const MAX_THREAD_BYTES = 64 * 1024 * 1024;

/**
 * Adds records; resolves when they are on the disk. Makes the file with its first record. Throws TooLarge when the thread is full.
 */
export async function appendRecords(path: string, records: readonly ThreadRecord[]): Promise<void> {
  const file = await openForAppend(path);
  try {
    const { size } = await file.stat();
    if (size > MAX_THREAD_BYTES) {
      throw new ArgusError("TooLarge", "this thread is full: start a new one", { path });
    }
    await file.writeFile(records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function openForAppend(path: string): Promise<FileHandle> {
  try {
    return await open(path, "a", 0o600);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    await mkdir(dirname(path), { recursive: true });
    return open(path, "a", 0o600);
  }
}

/**
 * Cuts what a crash left behind the last newline, so that the next record starts a line of its own.
 */
export async function dropTornTail(path: string): Promise<void> {
  const file = await open(path, "r+");
  try {
    const { size } = await file.stat();
    const end = await lastLineEnd(file, size);
    if (end === size) return;
    await file.truncate(end);
    await file.datasync();
  } finally {
    await file.close();
  }
}

async function lastLineEnd(file: FileHandle, size: number): Promise<number> {
  const block = Buffer.alloc(64 * 1024);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - block.length);
    const { bytesRead } = await file.read(block, 0, end - start, start);
    const newline = block.subarray(0, bytesRead).lastIndexOf(10);
    if (newline >= 0) return start + newline + 1;
    end = start;
  }
  return 0;
}

/** Reads a thread; undefined when the file holds none. Lines that are not records are passed over. */
export async function readThread(path: string): Promise<ThreadContent | undefined> {
  const state: Replay = { thread: undefined, turns: new Map() };
  const splitter = new LineSplitter({ maxBytes: MAX_LINE_BYTES, onOverflow: "skip" });
  for await (const chunk of createReadStream(path)) {
    for (const line of splitter.push(chunk as Buffer).lines) replay(state, parse(line));
  }
  const turns = [...state.turns.values()];
  for (const turn of turns) if (turn.status === "inProgress") turn.status = "interrupted";
  return state.thread && { thread: state.thread, turns };
}

interface Replay {
  thread: ThreadFacts | undefined;
  turns: Map<string, Turn>;
}

function parse(line: Buffer): ThreadRecord | undefined {
  try {
    return JSON.parse(line.toString("utf8")) as ThreadRecord;
  } catch {
    return undefined;
  }
}

function replay(state: Replay, record: ThreadRecord | undefined): void {
  if (record?.record === "thread") state.thread = record.thread;
  else if (record?.record === "facts") changeFacts(state.thread, record);
  else if (record) replayTurn(state, record);
}

function changeFacts(
  thread: ThreadFacts | undefined,
  { name, archived }: { name?: string; archived?: boolean },
): void {
  if (thread && name !== undefined) thread.name = name;
  if (thread && archived !== undefined) thread.archived = archived;
}

type TurnRecord = Extract<ThreadRecord, { turnId: string }>;

function replayTurn(state: Replay, record: TurnRecord): void {
  const turn = state.turns.get(record.turnId);
  switch (record.record) {
    case "turn":
      state.turns.set(record.turnId, newTurn(record.turnId, record.atMs));
      return touch(state, record.atMs);
    case "item":
      turn?.items.push(record.item);
      return;
    case "end":
      if (turn) Object.assign(turn, ended(record));
      return touch(state, record.atMs);
  }
}

function touch({ thread }: Replay, atMs: number): void {
  if (thread) thread.updatedAtMs = Math.max(thread.updatedAtMs, atMs);
}

const ended = ({ status, error, atMs }: ThreadRecord & { record: "end" }) => ({
  status,
  error,
  completedAtMs: atMs,
});

export function newTurn(id: string, startedAtMs: number): Turn {
  return { id, status: "inProgress", items: [], error: null, startedAtMs, completedAtMs: null };
}
