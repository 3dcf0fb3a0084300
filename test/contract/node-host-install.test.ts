import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { serviceFile } from "#node-host/service.ts";
import { runProgram } from "#test/support/run-program.ts";

const program = join(import.meta.dirname, "..", "..", "cli", "node-host.ts");

test.skipIf(process.platform !== "linux")(
  "install writes a unit that systemd reads, with awkward words as they are",
  async () => {
    const home = await mkdtemp(join(tmpdir(), "argus install "));
    const state = join(home, "100% $HOME");
    const words = [process.execPath, program, "install", "--state", state];
    const env = ["-i", `HOME=${home}`, "PATH=/usr/bin:/bin", ...words];
    const printed = await runProgram("env", [...env, "--print"]);
    const unit = join(home, ".config/systemd/user/argus-node-host.service");
    expect(existsSync(unit)).toBe(false);
    const written = await runProgram("env", env);
    expect(written.stdout).toContain("systemctl --user enable --now argus-node-host");
    expect(readFileSync(unit, "utf8")).toBe(printed.stdout);
    expect(printed.stdout).toContain('100%% $$HOME"');
    if (existsSync("/usr/bin/systemd-analyze")) {
      const checked = await runProgram("systemd-analyze", ["verify", "--man=no", unit]);
      expect(`${checked.stdout}${checked.stderr}`).not.toContain("argus-node-host.service:");
    }
    await rm(home, { recursive: true });
  },
);

test("macOS gets a file for launchd with its words as XML", () => {
  const file = serviceFile("darwin", { command: ["/a b/node", "<&>"], home: "/Users/ann" });
  expect(file?.path).toBe("/Users/ann/Library/LaunchAgents/dev.argus.node-host.plist");
  expect(file?.text).toContain("<string>/a b/node</string>\n    <string>&lt;&amp;&gt;</string>");
  expect(serviceFile("plan9", { command: [], home: "/" })).toBeUndefined();
});
