import { randomBytes } from "node:crypto";
import { mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeTelegram, type Stored, startTelegram } from "#test/fakes/telegram.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { telegramEnv } from "#test/support/telegram-env.ts";

let telegram: FakeTelegram;
let up: ArgusUp;
let ada: ReturnType<FakeTelegram["people"]["person"]>;
let workspace: string;

beforeAll(async () => {
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
  up = await ArgusUp.start({ env: telegramEnv(telegram, ada) });
  await telegram.waitFor("the poll", () => telegram.polled(), 60_000);
  const about = { kind: "document", name: "seen.txt", bytes: Buffer.from("x") } as const;
  telegram.people.send(ada, { ...about, caption: "where?" });
  const answer = await heard(/where\?/);
  workspace = dirname(dirname(dirname(/. file: (\S+)/.exec(textOf(answer))?.[1] ?? "")));
}, 120_000);
afterAll(async () => {
  await up?.destroy();
  await telegram?.stop();
});

const textOf = ({ versions }: Stored) => versions.at(-1)?.text ?? "";
const heard = (words: RegExp, timeoutMs = 60_000) =>
  telegram.waitFor(
    `a message ${words}`,
    () => telegram.sent(ada).find((each) => words.test(textOf(each))),
    timeoutMs,
  );
const filesOf = ({ body }: Stored, kind: string) => {
  const found = body[kind] as { file_id: string } | { file_id: string }[] | undefined;
  return Array.isArray(found) ? found.at(-1)?.file_id : found?.file_id;
};
/** Messages of the bot with a file of this kind, in order. */
const sentFiles = (kind: string) => telegram.sent(ada).filter((each) => each.kind === kind);
const oneMore = async (kind: string, before: number) => {
  await telegram.waitFor(`one more ${kind}`, () => sentFiles(kind).length > before, 60_000);
  const message = sentFiles(kind)[before];
  const bytes = telegram.file((message && filesOf(message, kind)) ?? "");
  return { message, bytes };
};

test("files that the answer names come after its text, each as what it is", async () => {
  const png = Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), randomBytes(900_000)]);
  const files = {
    "out/chart.png": png,
    "out/a voice.ogg": randomBytes(5000),
    "report.pdf": randomBytes(1_200_000),
  };
  await mkdir(join(workspace, "out"));
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(workspace, name), bytes);
  telegram.people.say(
    ada,
    'see these\nMEDIA: ./out/chart.png\nMEDIA: "out/a voice.ogg"\nMEDIA: report.pdf',
  );
  const photo = await oneMore("photo", 0);
  const voice = await oneMore("voice", 0);
  const pdf = await oneMore("document", 0);
  expect(photo.bytes.equals(png)).toBe(true);
  expect(voice.bytes.equals(files["out/a voice.ogg"])).toBe(true);
  expect(pdf.bytes.equals(files["report.pdf"])).toBe(true);
  const text = await heard(/see these$/);
  const ids = [text, photo.message, voice.message, pdf.message].map((each) => each?.id ?? 0);
  expect(ids).toEqual(ids.toSorted((a, b) => a - b));
}, 120_000);

test("what cannot be sent is told with the reason, and the rest comes", async () => {
  await symlink("/etc/passwd", join(workspace, "link.txt"));
  await writeFile(join(workspace, "huge.bin"), "");
  await truncate(join(workspace, "huge.bin"), 51 * 1024 * 1024);
  await writeFile(join(workspace, "fake.png"), "this is no picture");
  const before = sentFiles("document").length;
  telegram.people.say(
    ada,
    "try\nMEDIA: none.txt\nMEDIA: link.txt\nMEDIA: ../../private/token\nMEDIA: huge.bin\nMEDIA: fake.png",
  );
  expect(textOf(await heard(/none\.txt was not sent/))).toMatch(/no such file/);
  expect(textOf(await heard(/link\.txt was not sent/))).toMatch(/link/);
  expect(textOf(await heard(/token was not sent/))).toMatch(/no file in the workspace/);
  expect(textOf(await heard(/huge\.bin was not sent/))).toMatch(/at most/);
  const { bytes } = await oneMore("document", before);
  expect(bytes.toString()).toBe("this is no picture");
}, 120_000);

test("a file whose fate is unknown comes once more, marked; one that was refused for the rate only once", async () => {
  await writeFile(join(workspace, "twice.pdf"), "twice");
  const before = sentFiles("document").length;
  telegram.faults.add({ fault: { cut: "after" }, method: "sendDocument" });
  telegram.people.say(ada, "again\nMEDIA: twice.pdf");
  await oneMore("document", before);
  await oneMore("document", before + 1);
  const [first, second] = sentFiles("document").slice(before);
  expect([first && textOf(first), second && textOf(second)]).toEqual(["", "↻"]);
  telegram.faults.add({ fault: { retryAfter: 1 }, method: "sendDocument" });
  telegram.people.say(ada, "slowly\nMEDIA: twice.pdf");
  await oneMore("document", before + 2);
  telegram.people.say(ada, "the end");
  await heard(/the end/);
  expect(sentFiles("document")).toHaveLength(before + 3);
}, 120_000);
