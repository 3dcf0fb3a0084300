import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeModel, startFakeModel } from "#test/fakes/model.ts";
import { type FakeTelegram, type Person, startTelegram } from "#test/fakes/telegram.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { telegramEnv } from "#test/support/telegram-env.ts";
import { UpSessions } from "#test/support/up-sessions.ts";

const KEY = "sk-test-model-key";
/** Of the fake voices here the words are the bytes. */
const LISTEN = `grep -q noise "$1" && { echo "only noise" >&2; exit 3; }; tr A-Z a-z < "$1"`;
let model: FakeModel;
let telegram: FakeTelegram;
let up: ArgusUp;
let ada: Person;

beforeAll(async () => {
  model = await startFakeModel({ requireKey: KEY });
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
  up = await ArgusUp.start({
    env: {
      ARGUS_MODEL_UPSTREAM: model.url,
      ARGUS_MODEL_KEY: KEY,
      ARGUS_MODEL: "gpt-6-luna",
      ARGUS_TRANSCRIBE: LISTEN,
      ...telegramEnv(telegram, ada),
    },
  });
  await telegram.waitFor("the poll", () => telegram.polled(), 60_000);
}, 120_000);
afterAll(async () => {
  await up?.destroy();
  await telegram?.stop();
  await model?.close();
});

/** Sends a voice message; what the model was asked in its turn. */
async function speak(words: string): Promise<string> {
  const before = model.requests.length;
  const answers = telegram.sent(ada).length;
  telegram.people.send(ada, { kind: "voice", bytes: Buffer.from(words), mime: "audio/ogg" });
  await telegram.waitFor("an answer", () => telegram.sent(ada).length > answers, 60_000);
  return await eventually("the model is asked", () => {
    const asked = model.requests.slice(before).map(({ body }) => JSON.stringify(body));
    return asked.findLast((each) => each.includes("audio: /"));
  });
}

const heardFile = async (asked: string) =>
  (await readFile([...asked.matchAll(/audio: (\/[^\s"\\]+)/g)].at(-1)?.[1] ?? "")).toString();

test("a voice message is transcribed by the configured command; the agent gets its words and the file", async () => {
  const asked = await speak("TURN ON THE LIGHTS");
  expect(asked).toContain("transcribed by a program, which may err):\\n  > turn on the lights");
  expect(await heardFile(asked)).toBe("TURN ON THE LIGHTS");
}, 120_000);

test("what the command cannot make out is told in its words, and the file is there all the same", async () => {
  const asked = await speak("noise");
  expect(asked).toContain(
    "It was not transcribed: only noise the command ended with 3. Tell the user so.",
  );
  expect(await heardFile(asked)).toBe("noise");
}, 120_000);

test("a session may have a command of its own, or none", async () => {
  const own = new UpSessions(up);
  for (const [name, command] of [
    ["parrot", "echo polly"],
    ["deaf", ""],
  ] as const) {
    const runtime = JSON.stringify({ transcribe: command });
    const yaml = `
apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: ${name} }
spec: { runtime: ${runtime}, heartbeat: { intervalSeconds: 0 } }
`;
    await up.kubectl(["apply", "-f", "-"], yaml);
    await own.call("main", "chat/bind", { session: name, chat: `telegram:${ada.id}` });
    const asked = await speak("HELLO");
    expect(asked.includes("> polly")).toBe(name === "parrot");
    expect(asked.includes("transcribed")).toBe(name === "parrot");
  }
}, 180_000);
