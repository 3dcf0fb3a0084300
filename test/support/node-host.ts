import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { killAll, processesOf } from "./processes.ts";

const program = join(import.meta.dirname, "..", "..", "cli", "node-host.ts");

/** A node-host process with a state folder of its own. */
export class NodeHostProcess {
  readonly folder: string;
  readonly #command: string[];
  child: ChildProcess | undefined;
  stderr = "";
  stdout = "";

  constructor(folder: string, command: string[]) {
    this.folder = folder;
    this.#command = command;
  }

  /** `policy` as the owner's file; by default everything is allowed. */
  static async make(
    policy: object | undefined = { default: "allow" },
    command: string[] = [process.execPath, program],
  ): Promise<NodeHostProcess> {
    const folder = await mkdtemp(join(tmpdir(), "argus-node-host-"));
    if (policy) await writeFile(join(folder, "policy.json"), JSON.stringify(policy));
    return new NodeHostProcess(folder, command);
  }

  start(args: string[], env: Record<string, string> = {}): ChildProcess {
    const [path = "", ...words] = this.#command;
    const child = spawn(path, [...words, ...args, "--state", this.folder], {
      env: { PATH: process.env.PATH, HOME: this.folder, LANG: "C.UTF-8", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    child.stderr.on("data", (text: Buffer) => {
      this.stderr += text.toString();
    });
    child.stdout.on("data", (text: Buffer) => {
      this.stdout += text.toString();
    });
    this.child = child;
    return child;
  }

  run(url: string, nodeId = "laptop", env: Record<string, string> = {}): ChildProcess {
    return this.start(["run", "--url", url, "--node-id", nodeId], env);
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill(signal);
    await gone;
  }

  /** Ends it and everything it left. */
  async remove(): Promise<void> {
    await this.kill();
    for (let left = processesOf(this.folder); left.length > 0; left = processesOf(this.folder))
      killAll(left);
    await rm(this.folder, { recursive: true, force: true });
  }
}
