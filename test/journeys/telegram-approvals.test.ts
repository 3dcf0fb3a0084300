import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeTelegram, type Stored, startTelegram } from "#test/fakes/telegram.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { telegramEnv } from "#test/support/telegram-env.ts";

let telegram: FakeTelegram;
let up: ArgusUp;
type Someone = ReturnType<FakeTelegram["people"]["person"]>;
let ada: Someone;
/** So that it is the echo's command and not the bot's. */
const ASK = "@argus_test_bot /approve";

beforeAll(async () => {
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
  up = await ArgusUp.start({ env: telegramEnv(telegram, ada) });
  await telegram.waitFor("the poll", () => telegram.polled(), 60_000);
}, 120_000);
afterAll(async () => {
  await up?.destroy();
  await telegram?.stop();
});

type Chat = { id: number };
const textOf = ({ versions }: Stored) => versions.at(-1)?.text ?? "";
const heard = (where: Chat, words: RegExp, timeoutMs = 30_000) =>
  telegram.waitFor(
    `a message ${words}`,
    () => telegram.sent(where).find((each) => words.test(textOf(each))),
    timeoutMs,
  );
const hasButtons = (message: Stored) => message.versions.at(-1)?.replyMarkup !== undefined;
const wordsOf = (answer: unknown) => (answer as { text?: string }).text ?? "";

async function kill(program: string): Promise<void> {
  const [{ pid } = { pid: 0 }] = up.find(program);
  process.kill(pid, "SIGKILL");
  await eventually(`${program} is gone`, () => up.find(program).every((each) => each.pid !== pid));
}

test("the agent asks, the person presses, the command runs, and the message says who decided", async () => {
  telegram.people.say(ada, `${ASK} touch one.txt`);
  const question = await heard(ada, /touch one\.txt/);
  expect(textOf(question)).toMatch(
    /May I run this command.*\n.*touch one\.txt.*\nWhy: .*\n.*refused after 29 min/s,
  );
  expect(wordsOf(await telegram.people.press(question, "Allow", ada))).toBe("✅ Allow: Ada");
  await heard(ada, /echo: you allowed it/);
  await telegram.waitFor(
    "the outcome",
    () => textOf(question).endsWith("✅ Allow: Ada") && !hasButtons(question),
  );
  const [answer] = telegram.sent(ada).filter((each) => /you allowed it/.test(textOf(each)));
  expect(answer?.id).toBeGreaterThan(question.id);
}, 60_000);

test("with the bot and the gateway killed while it waits, the same question is answered, once", async () => {
  telegram.people.say(ada, `${ASK} touch two.txt`);
  const question = await heard(ada, /touch two\.txt/);
  await kill("argus.mjs telegram");
  await kill("argus.mjs gateway");
  const words = wordsOf(await telegram.people.press(question, "Refuse", ada));
  expect(words).toBe("🚫 Refuse: Ada");
  await heard(ada, /echo: you declined it/, 60_000);
  await telegram.waitFor("the outcome", () => textOf(question).endsWith("🚫 Refuse: Ada"));
  const isShown = (each: Stored) => /touch two\.txt/.test(textOf(each));
  const isMarked = ({ versions }: Stored) => versions[0]?.text.startsWith("↻") ?? false;
  const shown = telegram.everSent.filter(isShown);
  // Killed before the gateway heard that it is there, it comes once more, marked.
  expect(shown.filter((each) => !isMarked(each))).toHaveLength(1);
  expect(shown.length).toBeLessThanOrEqual(2);
}, 120_000);

test("/stop ends what is asked, and a press of its button is told so", async () => {
  telegram.people.say(ada, `${ASK} touch three.txt`);
  const question = await heard(ada, /touch three\.txt/);
  telegram.faults.add({ fault: { status: 502 }, method: "editMessageText" });
  const pressed = { ...question, versions: [...question.versions] };
  telegram.people.say(ada, "/stop");
  await telegram.waitFor("the outcome", () => /(turn ended|elsewhere)/.test(textOf(question)));
  expect(hasButtons(question)).toBe(false);
  const words = wordsOf(await telegram.people.press(pressed, "Allow", ada));
  expect(words).toMatch(/decided before|is over/);
}, 60_000);
