import { writeSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { StoredState } from "#gateway/state/document.ts";
import { openFileStore } from "#gateway/store/file.ts";
import { isErrno } from "#lib/errors.ts";

/**
 * Commits numbers into 16 documents as fast as it goes, and names each on stdout once it is durable: `<document> <number>`. Each document
 * keeps its last 200 numbers and how many there were. Killed by its parent.
 */
const [folder = ""] = process.argv.slice(2);
const DOCUMENTS = 16;
const kind = {
  what: "A document",
  schema: { safeParse: (data: unknown) => ({ success: true, data }) } as never,
  empty: { count: 0, last: [] as number[] },
};
/** A full pipe is waited for: what cannot be said must not count as said. */
async function say(line: string): Promise<void> {
  for (;;) {
    try {
      writeSync(1, line);
      return;
    } catch (error) {
      if (!isErrno(error, "EAGAIN")) throw error;
      await setTimeout(1);
    }
  }
}

const store = await openFileStore({ folder }, new AbortController().signal);
await Promise.all(
  Array.from({ length: DOCUMENTS }, async (_, index) => {
    const state = await StoredState.open(store, `doc-${index}`, kind);
    const one = async () => {
      for (;;) {
        const made = await state.reduce(({ count, last }) => {
          const number = count + 1;
          const document = { count: number, last: [...last.slice(-199), number] };
          return { document, answer: number };
        });
        await say(`${index} ${made}\n`);
      }
    };
    await Promise.all([one(), one(), one(), one()]);
  }),
);
