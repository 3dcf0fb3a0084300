import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { prepareAppServer } from "#runtime/app-server-command.ts";

let root: string;
let home: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "argus-command-"));
  home = join(root, "home");
});
afterEach(() => rmSync(root, { recursive: true }));

function program(path: string, text = "\x7fELF"): string {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, 0o755);
  return file;
}

interface Given {
  command?: string[];
  protocol?: "codex" | "jsonl";
  approvals?: "never" | "untrusted";
  model?: string;
  workingDir?: string;
  env?: Record<string, string>;
}

const prepare = ({ command = ["codex", "app-server"], env = {}, ...runtime }: Given = {}) =>
  prepareAppServer({
    runtime: {
      command,
      protocol: "codex",
      image: "image",
      approvals: "never",
      workingDir: "",
      parkAfterSeconds: 0,
      pids: 0,
      memoryBytes: 0,
      ...runtime,
    },
    home,
    workspace: join(home, "workspace"),
    temporary: join(root, "tmp"),
    agentEnv: { PATH: join(root, "bin"), ARGUS_SESSION: "main", ...env },
    loopback: { port: 4321, secret: 's"1' },
  });

const config = () => readFileSync(join(home, ".codex", "config.toml"), "utf8");

test("a native Codex is started as it is, its home and programs on the volume", async () => {
  const codex = program("bin/codex");
  const prepared = await prepare();
  expect(prepared).toEqual({
    command: [codex, "app-server"],
    cwd: join(home, "workspace"),
    toolServers: ["argus"],
    echo: false,
    env: {
      ARGUS_SESSION: "main",
      CODEX_HOME: join(home, ".codex"),
      HOME: home,
      PATH: `${join(home, ".npm-global", "bin")}:${join(root, "bin")}`,
      RUST_LOG: "warn",
      TMPDIR: join(root, "tmp"),
      npm_config_prefix: join(home, ".npm-global"),
    },
  });
  expect(statSync(prepared.cwd).isDirectory()).toBe(true);
});

test("the config leads to the loopback port and is for the agent's eyes only", async () => {
  program("bin/codex");
  await prepare();
  expect(config()).toContain('base_url = "http://127.0.0.1:4321/openai/v1"');
  expect(config()).toContain('http_headers = { "x-argus-loopback-secret" = "s\\"1" }');
  expect(config()).toContain('approval_policy = "never"');
  expect(config()).not.toMatch(/^model =/m);
  expect(config()).not.toMatch(/retries/);
  expect(statSync(join(home, ".codex", "config.toml")).mode & 0o777).toBe(0o600);
});

test("the config is written anew at each start", async () => {
  program("bin/codex");
  await prepare();
  writeFileSync(join(home, ".codex", "config.toml"), "broken");
  await prepare({ approvals: "untrusted", model: 'gpt-"6"' });
  expect(config()).toContain('approval_policy = "on-request"');
  expect(config()).toContain('model = "gpt-\\"6\\""');
});

/** As npm installs it: `bin/codex` is a link to a launcher in the package. */
function launcher(): string {
  const file = program("lib/node_modules/@openai/codex/bin/codex.js", "#!/usr/bin/env node\n");
  mkdirSync(join(root, "bin"), { recursive: true });
  symlinkSync(file, join(root, "bin", "codex"));
  return file;
}

test.each(["lib/node_modules/@openai/codex/node_modules", "lib/node_modules"])(
  "behind npm's launcher the native program of the platform package in %s is started",
  async (modules) => {
    launcher();
    const name = `@openai/codex-${process.platform}-${process.arch}`;
    program(`${modules}/${name}/package.json`, `{"name":"${name}"}`);
    const arch = process.arch === "x64" ? "x86_64" : "aarch64";
    const triple =
      process.platform === "darwin" ? `${arch}-apple-darwin` : `${arch}-unknown-linux-musl`;
    const native = program(`${modules}/${name}/vendor/${triple}/bin/codex`);
    expect((await prepare()).command).toEqual([native, "app-server"]);
  },
);

test("a wrapper that somebody wrote is started as it is", async () => {
  const wrapper = program("bin/codex", "#!/bin/sh\n");
  expect((await prepare()).command[0]).toBe(wrapper);
});

test.each([
  ["no Codex", () => {}, /codex is not on the PATH/],
  ["a launcher without its native program", launcher, /its native program for .* is not/],
])("%s: says what to install", async (_, arrange, what) => {
  arrange();
  const error = await prepare().catch((each: unknown) => each);
  expect(error).toMatchObject({ code: "NotFound", message: expect.stringMatching(what) });
  expect(String(error)).toContain("npm install -g @openai/codex@0.169.0");
});

test("what the install script put on the volume is found first", async () => {
  program("bin/codex");
  const own = program("home/.npm-global/bin/codex");
  expect((await prepare()).command[0]).toBe(own);
});

test("the echo is labelled and needs no config; any other program must be there", async () => {
  program("bin/argus");
  const prepared = await prepare({ command: ["argus", "echo"] });
  expect(prepared).toMatchObject({ command: ["argus", "echo"], echo: true });
  expect(prepared.env).not.toHaveProperty("CODEX_HOME");
  await expect(prepare({ command: ["agent"], protocol: "jsonl" })).rejects.toThrow(
    /app-server agent is not on the PATH/,
  );
});

test("the working folder of the spec wins over the workspace", async () => {
  program("bin/codex");
  expect((await prepare({ workingDir: join(root, "else") })).cwd).toBe(join(root, "else"));
});
