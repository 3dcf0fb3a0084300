import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type FakeTelegram, startTelegram } from "#test/fakes/telegram.ts";
import { temporaryData } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";

const root = join(import.meta.dirname, "..", "..");
const page = readFileSync(join(root, "docs", "telegram.md"), "utf8");
const blocks = [...page.matchAll(/^ *```sh\n(.*?)^ *```$/gms)].map(([, text = ""]) => text);
const named = [...page.matchAll(/`(\.\/argus [^`]+)`/g)].map(([, command = ""]) => command);

let telegram: FakeTelegram;
let ada: ReturnType<FakeTelegram["people"]["person"]>;
let data: string;
let up: ChildProcess | undefined;
let output = "";
beforeEach(async () => {
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
  data = temporaryData();
});
afterEach(async () => {
  const ended = up && up.exitCode === null ? once(up, "exit") : undefined;
  up?.kill("SIGTERM");
  await ended;
  await telegram.stop();
  rmSync(data, { recursive: true, force: true });
});

/** A person's environment: nothing of Argus in it, but where this test's Telegram and folder are. */
function environment(): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(ARGUS_|OPENAI_|NODE_|VITEST)/.test(name),
  );
  return { ...Object.fromEntries(own), ARGUS_DATA: data, ARGUS_TELEGRAM_API: telegram.url };
}

/** Runs a block of the page as it stands, with the person's own token and id; ports are free ones, for others test here too. */
async function start(block: string, changes: [from: string, to: string][] = []): Promise<void> {
  const own: [string, string][] = [
    ["123456:your-token", telegram.token],
    ["your-user-id", String(ada.id)],
    ["./argus up", "exec ./argus up --port 0 --api-port 0"],
    ...changes,
  ];
  const script = own.reduce((text, [from, to]) => {
    if (!text.includes(from)) throw new Error(`the page does not say ${from}`);
    return text.replace(from, to);
  }, block);
  // An assignment before `exec` holds for the program, too.
  up = spawn("sh", ["-ec", script], { cwd: root, env: environment(), stdio: "pipe" });
  output = "";
  for (const stream of [up.stdout, up.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  }
  await eventually("argus up is ready", () => {
    if (up?.exitCode !== null) throw new Error(`it ended: ${output}`);
    return output.includes("Argus is ready");
  });
}

async function run(command: string): Promise<string> {
  const child = spawn("sh", ["-ec", command], { cwd: root, env: environment(), stdio: "pipe" });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
  }
  const [code] = (await once(child, "close")) as [number];
  expect(code, `${command}: ${said}`).toBe(0);
  return said;
}

type Someone = typeof ada;
const heard = (who: Someone, words: RegExp) =>
  telegram.waitFor(
    `${who.user.first_name} hears ${words}`,
    () =>
      telegram
        .sent(who)
        .map(({ versions }) => versions.at(-1)?.text ?? "")
        .find((text) => words.test(text)),
    60_000,
  );

test("five steps lead to the first answer, and every command of the page runs", async () => {
  const steps = page.slice(0, page.indexOf("\n## ")).match(/^\d\. /gm);
  expect(steps).toEqual(["1. ", "2. ", "3. ", "4. ", "5. "]);
  await start(blocks[0] ?? "");
  expect(output).toContain("the bot runs");
  telegram.people.say(ada, "/start");
  await heard(ada, /Hello! Write to me/);
  telegram.people.say(ada, "what can you do?");
  await heard(ada, /echo: what can you do\?/);
  const bob = telegram.people.person("Bob");
  telegram.people.say(bob, "/start");
  const [code = ""] = /[A-Z2-9]{8}/.exec(await heard(bob, /code/)) ?? [];
  const known: Record<string, RegExp> = {
    "./argus people approve CODE": /Bob/,
    "./argus sessions bind main telegram:12345": /main/,
    "./argus people remove telegram:12345": /./,
    "./argus deliveries": /./s,
  };
  // A terminal of its own, and a code that only a device shows: their own tests run them.
  const others = ["./argus chat", "./argus approve"];
  expect(new Set(named)).toEqual(new Set([...Object.keys(known), ...others]));
  for (const [command, said] of Object.entries(known)) {
    const own = command.replace("CODE", code).replace("12345", String(bob.id));
    expect(await run(own)).toMatch(said);
  }
}, 180_000);

test("a program that the page's command names listens to voice messages", async () => {
  await start(blocks[1] ?? "", [[`voice-to-text "$1"`, `tr a-z A-Z < "$1"`]]);
  telegram.people.send(ada, { kind: "voice", bytes: Buffer.from("hello"), mime: "audio/ogg" });
  await heard(ada, /which may err.*HELLO/s);
}, 120_000);

test("the webhook's commands lead to an answer, too", async () => {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await start(blocks[2] ?? "", [
    // This test's Telegram reaches the bot without TLS and names.
    ["https://bot.example.org/hook", `http://127.0.0.1:${port}/hook`],
    ["127.0.0.1:8083", `127.0.0.1:${port}`],
  ]);
  telegram.people.say(ada, "posted");
  await heard(ada, /echo: posted/);
  expect(telegram.calls.some(({ method }) => method === "getUpdates")).toBe(false);
}, 120_000);
