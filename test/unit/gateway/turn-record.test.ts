import { expect, test } from "vitest";
import { runningWords, silenceWords, silentUntil } from "#gateway/lanes/silence.ts";
import { answerText, readItems, TurnRecords } from "#gateway/lanes/turn-record.ts";

const spec = { silenceSeconds: 600, commandSilenceSeconds: 3600 };
const ids = { threadId: "t", turnId: "u" };
const message = (text: string, phase: string | null = null) => ({
  type: "agentMessage",
  id: "m",
  text,
  phase,
});

test("the answer is every message of the turn but comments; a tool is noticed", () => {
  const records = new TurnRecords();
  const record = records.watch("u", "t");
  records.see("item/completed", { ...ids, item: message("first") });
  records.see("item/completed", { ...ids, item: message("I look around", "commentary") });
  expect(record.ranTool).toBe(false);
  records.see("item/started", {
    ...ids,
    item: { type: "commandExecution", id: "c", command: "ls" },
  });
  expect(record).toMatchObject({ ranTool: true });
  expect(runningWords(record)).toContain("`ls`");
  records.see("item/completed", { ...ids, item: { type: "commandExecution", id: "c" } });
  records.see("item/completed", { ...ids, item: message("second", "final_answer") });
  records.see("item/completed", { threadId: "t", turnId: "other", item: message("not mine") });
  expect(answerText(record.texts)).toBe("first\n\nsecond");
  expect(runningWords(record)).toBe("A turn is running.");
});

test("any notification of the thread is a sign of life; a command has longer, an approval all the time", () => {
  let now = 1000;
  const records = new TurnRecords(() => now);
  const record = records.watch("u", "t");
  expect(silentUntil(record, spec)).toBe(1000 + 600_000);
  now = 2000;
  records.see("thread/tokenUsage/updated", { threadId: "t" });
  expect(silentUntil(record, spec)).toBe(2000 + 600_000);
  records.see("item/started", {
    ...ids,
    item: { type: "commandExecution", id: "c", command: "make" },
  });
  expect(silentUntil(record, spec)).toBe(2000 + 3_600_000);
  expect(silenceWords(record, spec)).toBe("the command `make` gave no sign of life for 60 min.");
  records.see("thread/status/changed", {
    threadId: "t",
    status: { type: "active", activeFlags: ["waitingOnApproval"] },
  });
  expect(silentUntil(record, spec)).toBeNull();
  records.see("thread/status/changed", {
    threadId: "t",
    status: { type: "active", activeFlags: [] },
  });
  expect(silentUntil(record, spec)).not.toBeNull();
});

test("a model that is tried again is named until there is an item again", () => {
  const records = new TurnRecords();
  const record = records.watch("u", "t");
  records.see("error", { ...ids, error: { message: "503 from the model" }, willRetry: true });
  expect(runningWords(record)).toContain("503 from the model");
  records.see("item/started", { ...ids, item: { type: "reasoning", id: "r" } });
  expect(runningWords(record)).not.toContain("503");
  const codexErrorInfo = { responseTooManyFailedAttempts: { httpStatusCode: 429 } };
  records.see("error", {
    ...ids,
    error: { message: "slow down", codexErrorInfo },
    willRetry: true,
  });
  expect(runningWords(record)).toBe("The running turn waits for its rate limit (slow down).");
});

test("a turn that was joined in its middle may run a command; one that does not end though stopped is told of", () => {
  const records = new TurnRecords(() => 0);
  const record = records.watch("u", "t");
  record.joined = true;
  expect(silentUntil(record, spec)).toBe(3_600_000);
  const stopping = { reason: "you asked for it.", since: 0 };
  expect(runningWords(record, stopping, 1000)).toBe(
    "The running turn is being stopped: you asked for it.",
  );
  expect(runningWords(record, stopping, 150_000)).toMatch(/It has not ended for 2 min: delete/);
});

test("history tells text and tools; what is not complete may have run one", () => {
  expect(readItems([message("a"), { type: "fileChange" }], true)).toEqual({
    text: "a",
    ranTool: true,
  });
  expect(readItems([message("a")], true)).toEqual({ text: "a", ranTool: false });
  expect(readItems([message("a")], false)).toEqual({ text: "a", ranTool: true });
  expect(readItems("garbage", true)).toEqual({ text: "", ranTool: false });
});

test("what is not a notification of a turn changes nothing", () => {
  const records = new TurnRecords();
  for (const params of [undefined, null, 1, "x", {}, { threadId: 5 }, { threadId: "t", item: 3 }]) {
    records.see("item/completed", params);
  }
  expect(records.get("u")).toBeUndefined();
});
