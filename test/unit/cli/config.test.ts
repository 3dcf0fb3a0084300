import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bridgeOptions } from "#cli/config/bridge.ts";
import { controllerSettings } from "#cli/config/controller.ts";
import { gatewaySettings } from "#cli/config/gateway.ts";
import { telegramLease, telegramSettings } from "#cli/config/telegram.ts";
import {
  controllerEnvironment,
  gatewayEnvironment,
  hasModel,
  sessionEnvironment,
  telegramEnvironment,
  upSettings,
  type Wiring,
} from "#cli/config/up.ts";
import { clean } from "#cli/config.ts";
import { ArgusError } from "#lib/errors.ts";
import { silentLogger } from "#lib/logger.ts";

const TOKEN = "0123456789abcdef";
const RUNTIME = {
  command: ["argus", "echo"],
  protocol: "codex",
  image: "argus:latest",
  approvals: "never",
  workingDir: "/home/argus/workspace",
  parkAfterSeconds: 900,
  pids: 256,
  memoryBytes: 0,
};
const POD_VARIABLES = {
  ARGUS_SESSION: "main",
  ARGUS_POD_UID: "uid-1",
  ARGUS_POD_IP: "127.77.0.2",
  ARGUS_RUNTIME: JSON.stringify(RUNTIME),
  ARGUS_GATEWAY_URL: "http://127.0.0.1:8080/",
  ARGUS_NAMESPACE: "default",
  ARGUS_TOKEN_FILE: "/run/token",
  HOME: "/data/home",
  TMPDIR: "/data/tmp",
  OPENAI_ORGANIZATION: "shown",
};

function problemsOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof ArgusError && error.code === "InvalidInput") return error.message;
    throw error;
  }
  return "";
}

function secretFile(text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "argus-config-")), "secret");
  writeFileSync(path, text);
  return path;
}

test("an empty variable is an absent one", () => {
  expect(clean({ A: "", B: undefined, C: "x" })).toEqual({ C: "x" });
});

test("one message names every bad variable and no value", () => {
  const message = problemsOf(() =>
    gatewaySettings({
      ARGUS_TOKEN: "short-secret",
      ARGUS_LISTEN: "nowhere",
      ARGUS_MODEL_UPSTREAM: "ftp://x",
      ARGUS_LOG_LEVEL: "loud",
      ARGUS_SESSION_TEMPLATE: "idle: { parkAfterSeconds: -3 }",
    }),
  );
  for (const name of [
    "ARGUS_TOKEN",
    "ARGUS_LISTEN",
    "ARGUS_MODEL_UPSTREAM",
    "ARGUS_LOG_LEVEL",
    "idle.parkAfterSeconds",
  ]) {
    expect(message).toContain(name);
  }
  expect(message).not.toContain("short-secret");
});

test("the gateway has no default token", () => {
  expect(problemsOf(() => gatewaySettings({}))).toContain("ARGUS_TOKEN_FILE");
});

test("a secret may come from a file; a file that is missing is named", () => {
  const set = gatewaySettings({ ARGUS_TOKEN_FILE: secretFile(`${TOKEN}\n`) });
  expect(set.ARGUS_TOKEN).toBe(TOKEN);
  expect(problemsOf(() => gatewaySettings({ ARGUS_TOKEN_FILE: "/nowhere/token" }))).toContain(
    "ARGUS_TOKEN_FILE",
  );
});

test("the model key is Argus's own name first, then OpenAI's", () => {
  const key = (variables: Record<string, string>) =>
    gatewaySettings({ ARGUS_TOKEN: TOKEN, ...variables }).ARGUS_MODEL_KEY;
  expect(key({ OPENAI_API_KEY: "b" })).toBe("b");
  expect(key({ ARGUS_MODEL_KEY: "a", OPENAI_API_KEY: "b" })).toBe("a");
  expect(key({ OPENAI_API_KEY_FILE: secretFile("c") })).toBe("c");
  expect(key({})).toBeUndefined();
});

test("a session template may be YAML or JSON and keeps what was written", () => {
  const template = (text: string) =>
    gatewaySettings({ ARGUS_TOKEN: TOKEN, ARGUS_SESSION_TEMPLATE: text }).ARGUS_SESSION_TEMPLATE;
  expect(template("approvals: untrusted")).toEqual({ approvals: "untrusted" });
  expect(template('{"runtime":{"command":["argus","echo"]}}')).toEqual({
    runtime: { command: ["argus", "echo"] },
  });
});

test("addresses are host and port, also IPv6 and all", () => {
  const listen = (text: string) => controllerSettings({ ARGUS_LISTEN: text }).ARGUS_LISTEN;
  expect(listen("127.0.0.1:0")).toEqual({ host: "127.0.0.1", port: 0 });
  expect(listen("[::1]:80")).toEqual({ host: "::1", port: 80 });
  expect(listen(":8080")).toEqual({ host: "0.0.0.0", port: 8080 });
  expect(problemsOf(() => listen("h:70000"))).toContain("ARGUS_LISTEN");
});

test("a uid range has a first and a last", () => {
  const range = (text: string) => controllerSettings({ ARGUS_UID_RANGE: text }).ARGUS_UID_RANGE;
  expect(range("100-200")).toEqual({ first: 100, last: 200 });
  expect(problemsOf(() => range("200-100"))).toContain("ARGUS_UID_RANGE");
});

test("the bridge reads its pod and gives the agent none of our variables but two", () => {
  const options = bridgeOptions(POD_VARIABLES, silentLogger());
  expect(options).toMatchObject({
    session: "main",
    podUid: "uid-1",
    host: "127.77.0.2",
    bridgePort: 7777,
    probePort: 7778,
    runtime: RUNTIME,
    gatewayUrl: "http://127.0.0.1:8080",
    home: "/data/home",
    tokenFile: "/run/token",
    workspace: "/home/argus/workspace",
  });
  expect(options.agentEnv).toEqual({
    ARGUS_SESSION: "main",
    ARGUS_POD_UID: "uid-1",
    OPENAI_ORGANIZATION: "shown",
    HOME: "/data/home",
    TMPDIR: "/data/tmp",
    PATH: expect.stringContaining("/usr/bin"),
  });
});

test("a broken ARGUS_RUNTIME is named with its field", () => {
  const broken = (text: string) =>
    problemsOf(() => bridgeOptions({ ...POD_VARIABLES, ARGUS_RUNTIME: text }, silentLogger()));
  expect(broken("{")).toContain("ARGUS_RUNTIME: is not JSON");
  expect(broken('{"command":[]}')).toContain("ARGUS_RUNTIME.command");
});

const WIRING: Wiring = {
  token: TOKEN,
  gatewayTokenFile: "/data/private/gateway-token",
  gatewayPort: 8080,
  controllerPort: 8081,
  stateFolder: "/data/state",
  controllerKubeconfig: "/data/c",
  gatewayKubeconfig: "/data/g",
  sessionTemplate: "{}",
};

test("only the gateway gets the model key and no session gets any secret", () => {
  const person = {
    PATH: "/bin",
    OPENAI_API_KEY: "sk-1",
    HTTPS_PROXY: "http://u:p@proxy",
    AWS_X: "1",
  };
  const set = upSettings(person);
  expect(hasModel(set)).toBe(true);
  expect(gatewayEnvironment(person, set, WIRING).ARGUS_MODEL_KEY).toBe("sk-1");
  expect(JSON.stringify(controllerEnvironment(person, set, WIRING))).not.toContain("sk-1");
  expect(sessionEnvironment(person)).toEqual({ PATH: "/bin" });
});

test("what up hands to its processes is what they accept", () => {
  const set = upSettings({});
  const gateway = gatewaySettings(gatewayEnvironment({}, set, WIRING));
  expect(gateway.ARGUS_LISTEN).toEqual({ host: "127.0.0.1", port: 8080 });
  const controller = controllerSettings(controllerEnvironment({}, set, WIRING));
  expect(controller.ARGUS_GATEWAY_URL).toBe("http://127.0.0.1:8080");
});

const BOT = { ARGUS_TELEGRAM_TOKEN: "123456:abcdefghijkl", ARGUS_TELEGRAM_LEASE: "argus-telegram" };

test("a bot takes turns by the Lease that it is told, with a webhook too", () => {
  const own = { ARGUS_NAMESPACE: "team", ARGUS_IDENTITY: "pod-1" };
  const lease = telegramLease(telegramSettings({ ...BOT, ...own }));
  expect(lease).toEqual({ name: "argus-telegram", namespace: "team", identity: "pod-1" });
  const alone = clean({ ...BOT, ARGUS_TELEGRAM_LEASE: undefined });
  expect(telegramLease(telegramSettings(alone))).toBeUndefined();
  const both = { ...BOT, ARGUS_TELEGRAM_WEBHOOK: "https://bot.example.org/hook" };
  expect(telegramLease(telegramSettings(both))?.name).toBe("argus-telegram");
});

test("the bot of argus up is alone, whatever its person's environment says", () => {
  const set = upSettings(BOT);
  const wiring = { gatewayPort: 1, gatewayTokenFile: "/t" } as Wiring;
  const environment = telegramEnvironment(BOT, set, wiring);
  expect(environment).toMatchObject({ ARGUS_TELEGRAM_TOKEN: BOT.ARGUS_TELEGRAM_TOKEN });
  expect(environment).not.toHaveProperty("ARGUS_TELEGRAM_LEASE");
});
