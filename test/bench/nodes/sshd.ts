import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { eventually } from "#test/support/eventually.ts";

const SSHD = "/usr/sbin/sshd";

/** An sshd of its own on a free port, and the words that call it. Throws when there is none: Debian's openssh-server. */
export async function startSshd(folder: string): Promise<{ words: string[]; stop: () => void }> {
  const key = (name: string) => {
    const file = join(folder, name);
    execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]);
    return file;
  };
  const host = key("host");
  const user = key("user");
  const port = await freePort();
  const config = join(folder, "sshd_config");
  writeFileSync(
    config,
    [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${host}`,
      `AuthorizedKeysFile ${user}.pub`,
      `PidFile ${join(folder, "sshd.pid")}`,
      "StrictModes no",
      "PermitRootLogin yes",
      "UsePAM no",
    ].join("\n"),
  );
  // As root it separates its privileges there.
  if (process.getuid?.() === 0) mkdirSync("/run/sshd", { recursive: true });
  const child: ChildProcess = spawn(SSHD, ["-D", "-e", "-f", config], { stdio: "ignore" });
  const options = `-F none -i ${user} -p ${port} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR`;
  const words = ["ssh", ...options.split(" "), "127.0.0.1"];
  await eventually("sshd answers", () => {
    const [program, ...args] = words;
    execFileSync(program ?? "ssh", [...args, "true"], { stdio: "ignore" });
    return true;
  });
  return { words, stop: () => child.kill() };
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0));
    });
  });
}
