import { open, readFile, rename } from "node:fs/promises";
import { summaryOf } from "#gateway/state/restore.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { StateDocument, StateLine, StateList } from "#protocol/state.ts";
import { EXIT } from "../exit.ts";
import { parseStateLines, stateLines } from "../state/lines.ts";
import { openPlace, type PlaceChoice, type StatePlace } from "../state/place.ts";
import { table } from "../table.ts";

const GATEWAY = "gateway";

/** A document of a place, or why it cannot be used. */
type Found = { uid: string; version: number; session?: string | undefined } & (
  | { document: StateDocument; name: string; open: number }
  | { problem: string }
);

async function withPlace<T>(choice: PlaceChoice, use: (place: StatePlace) => Promise<T>) {
  const place = await openPlace(choice);
  try {
    return await use(place);
  } finally {
    await place.close();
  }
}

async function* foundIn(place: StatePlace, session?: string): AsyncGenerator<Found> {
  for (const row of (await place.list()).documents) {
    const found = await foundAt(place, row);
    const name = row.session ?? ("name" in found ? found.name : undefined);
    if (session === undefined || name === session) yield found;
  }
}

async function foundAt(place: StatePlace, row: StateList["documents"][number]): Promise<Found> {
  try {
    const document = await place.read(row.uid);
    return { ...row, document, ...summaryOf(row.uid, document.body) };
  } catch (error) {
    if (error instanceof ArgusError && error.code === "Unavailable") throw error;
    return { ...row, problem: errorMessage(error) };
  }
}

/** Reads everything; 1 when a document cannot be used. */
export async function check(command: PlaceChoice & { json?: boolean }): Promise<number> {
  return withPlace(command, async (place) => {
    const all: Found[] = [];
    for await (const found of foundIn(place)) all.push(found);
    const rows = all.map((found) => row(found, place));
    const damaged = all.filter((found) => "problem" in found).length;
    if (command.json) print(JSON.stringify(rows.map(asObject), undefined, 2));
    else if (rows.length === 0) print(`${place.name}: no documents`);
    else {
      print(table(HEADER, rows).trimEnd());
      print(`${place.name}: ${rows.length} documents, ${damaged} that cannot be used`);
    }
    return damaged > 0 ? EXIT.failed : EXIT.ok;
  });
}

const HEADER = ["UID", "SESSION", "VERSION", "BYTES", "OPEN", "STATE"];

const asObject = (cells: string[]) =>
  Object.fromEntries(HEADER.map((name, index) => [name.toLowerCase(), cells[index]]));

function row(found: Found, place: StatePlace): string[] {
  const { uid, version, session } = found;
  if ("problem" in found) return [uid, session ?? "?", String(version), "-", "-", found.problem];
  const bytes = Buffer.byteLength(JSON.stringify(found.document.body));
  const isLeftOver = session === undefined && uid !== GATEWAY && place.knowsSessions;
  const state = isLeftOver ? "no session has this UID" : "ok";
  return [uid, session ?? found.name, String(version), String(bytes), String(found.open), state];
}

export async function exportState(command: PlaceChoice & { session?: string }): Promise<number> {
  return withPlace(command, async (place) => {
    const problems: string[] = [];
    for await (const text of copyOf(place, problems, command.session)) process.stdout.write(text);
    return told(problems);
  });
}

/** A whole file or none: what cannot be read is named, and left out. */
export async function backup(command: PlaceChoice & { file: string }): Promise<number> {
  return withPlace(command, async (place) => {
    const problems: string[] = [];
    const partial = `${command.file}.partial`;
    const file = await open(partial, "w", 0o600);
    try {
      for await (const text of copyOf(place, problems)) await file.write(text);
      await file.sync();
    } finally {
      await file.close();
    }
    const { length } = parseStateLines(await readFile(partial, "utf8"));
    await rename(partial, command.file);
    print(
      `${command.file} holds ${length} documents of ${place.name}. It holds private keys: keep it safe.`,
    );
    return told(problems);
  });
}

function copyOf(place: StatePlace, problems: string[], session?: string): AsyncGenerator<string> {
  return stateLines(readable(foundIn(place, session), problems), new Date().toISOString());
}

async function* readable(all: AsyncIterable<Found>, problems: string[]) {
  for await (const found of all) {
    if ("problem" in found) problems.push(`${found.session ?? found.uid}: ${found.problem}`);
    else {
      const { uid, version, session, name, document } = found;
      const body = document.body as StateLine["body"];
      yield { uid, version, name: session ?? name, body };
    }
  }
}

function told(problems: string[]): number {
  for (const problem of problems) process.stderr.write(`argus: left out: ${problem}\n`);
  return problems.length > 0 ? EXIT.failed : EXIT.ok;
}

export interface ImportCommand extends PlaceChoice {
  file: string;
  session?: string;
  byName?: boolean;
  replace?: boolean;
}

/** Puts back what the file holds; 1 when a document was not taken. */
export async function importState(command: ImportCommand): Promise<number> {
  const { file, session } = command;
  const all = parseStateLines(await readFile(file, "utf8"));
  const wanted = all.filter(({ name }) => session === undefined || name === session);
  if (wanted.length === 0) {
    throw new ArgusError("NotFound", `${file} holds no document of session ${session}`);
  }
  return withPlace(command, async (place) => {
    const known = await place.list();
    let refused = 0;
    for (const line of wanted) {
      const problem = await putBack(place, line, known, command).catch(errorMessage);
      if (problem !== undefined) refused += 1;
      print(`${line.name}: ${problem ?? "put back"}`);
    }
    return refused > 0 ? EXIT.failed : EXIT.ok;
  });
}

/** Why it was not; undefined = it was. */
async function putBack(
  place: StatePlace,
  { uid, name, body }: StateLine,
  known: StateList,
  { byName = false, replace = false }: ImportCommand,
): Promise<string | undefined> {
  const sessions = [...known.documents, ...known.sessionsWithout];
  const isKnown = !place.knowsSessions || uid === GATEWAY;
  const same = sessions.find((each) => each.uid === uid && each.session !== undefined);
  const namesake = byName ? sessions.find(({ session }) => session === name) : undefined;
  const target = isKnown ? uid : (same ?? namesake)?.uid;
  if (target !== undefined) {
    await place.write(target, { body, replace });
    return undefined;
  }
  return "no session has its UID: make the session, then give --by-name";
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
