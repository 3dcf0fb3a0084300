import { expect, test } from "vitest";
import { silentLogger } from "#lib/logger.ts";
import { Inputs } from "#runtime/inputs.ts";
import type { Journal } from "#runtime/journal.ts";
import { LEDGER_ENTRIES, LEDGER_OPEN, Ledger } from "#runtime/ledger.ts";

function rig() {
  const ledger = new Ledger();
  const lines: { line: Record<string, unknown>; durable: boolean }[] = [];
  const journal = {
    append: async (text: string, durable: boolean) => {
      lines.push({ line: JSON.parse(text) as Record<string, unknown>, durable });
    },
  } as unknown as Journal;
  const inputs = new Inputs({ ledger, journal, tell: () => {}, logger: silentLogger() });
  return { ledger, lines, inputs };
}

test("the first tool of a turn is made durable at once, the further ones are not written", async () => {
  const { lines, inputs } = rig();
  await inputs.open("a", "t", "turn/start");
  inputs.accepted("a", "x");
  for (let n = 0; n < 3; n += 1) inputs.itemStarted("x", { type: "commandExecution" });
  const marks = lines.filter(({ line }) => line.ran === true);
  expect(marks).toHaveLength(1);
  expect(marks[0]?.durable).toBe(true);
});

test("settled inputs leave memory as new ones come, not only when the file is compacted", async () => {
  const { ledger, inputs } = rig();
  for (let n = 0; n < LEDGER_ENTRIES + 50; n += 1) {
    await inputs.open(`i${n}`, "t", "turn/start");
    inputs.accepted(`i${n}`, `x${n}`);
    inputs.turnCompleted({ id: `x${n}`, status: "completed" });
  }
  expect(ledger.size).toBeLessThanOrEqual(LEDGER_ENTRIES + 1);
});

test("with too many open inputs a further one is refused, and what is open stays", async () => {
  const { ledger, inputs } = rig();
  for (let n = 0; n < LEDGER_OPEN; n += 1) await inputs.open(`i${n}`, "t", "turn/start");
  await expect(inputs.open("more", "t", "turn/start")).rejects.toMatchObject({
    error: { code: -32001, data: { reason: "ledgerFull" } },
  });
  expect(ledger.size).toBe(LEDGER_OPEN);
  expect(inputs.knows("more")).toBe(false);
});
