import { createHash } from "node:crypto";
import { ArgusError } from "#lib/errors.ts";
import { StateEnd, StateHead, StateLine } from "#protocol/state.ts";

/** The lines of a copy; nothing of it is in memory twice. */
export async function* stateLines(
  documents: AsyncIterable<Omit<StateLine, "sha256">>,
  takenAt: string,
): AsyncGenerator<string> {
  yield line({ argusState: 1, takenAt });
  let count = 0;
  for await (const document of documents) {
    count += 1;
    yield line({ ...document, sha256: digest(document.body) });
  }
  yield line({ end: true, documents: count });
}

/** The documents of a copy. Throws `InvalidInput` for one that is cut, changed or none: then nothing of it may be used. */
export function parseStateLines(text: string): StateLine[] {
  const lines = text.split("\n").filter((each) => each !== "");
  const [head, ...rest] = lines.map(parse);
  if (!StateHead.safeParse(head).success) throw bad("it does not begin as a copy of Argus's state");
  const end = StateEnd.safeParse(rest.pop());
  if (!end.success) throw bad("its end is missing");
  const documents = rest.map(checked);
  if (documents.length === end.data.documents) return documents;
  throw bad(`it has ${documents.length} of ${end.data.documents} documents`);
}

function checked(value: unknown, index: number): StateLine {
  const found = StateLine.safeParse(value);
  if (!found.success) throw bad(`line ${index + 2} is no document`);
  if (found.data.sha256 === digest(found.data.body)) return found.data;
  throw bad(`the document of ${found.data.name} in line ${index + 2} is not as it was written`);
}

function parse(text: string, index: number): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw bad(`line ${index + 1} is no JSON`);
  }
}

const line = (value: unknown) => `${JSON.stringify(value)}\n`;
const digest = (body: unknown) => createHash("sha256").update(JSON.stringify(body)).digest("hex");

function bad(why: string): ArgusError {
  return new ArgusError("InvalidInput", `The file cannot be used: ${why}. Nothing was written.`);
}
