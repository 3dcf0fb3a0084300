import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./eventually.ts";
import { kubectl, type Outcome } from "./kubectl.ts";
import { type FoundProcess, killAll, processesOf } from "./processes.ts";
import { WsClient } from "./ws-client.ts";

const root = join(import.meta.dirname, "..", "..");

export interface UpOptions {
  /** An existing data folder; a new temporary one when absent. */
  data?: string;
  env?: Record<string, string>;
}

export interface Finished {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A data folder that other user ids can reach, as `argus up` needs it when it runs as root. */
export function temporaryData(): string {
  const folder = mkdtempSync(join(tmpdir(), "argus-up-"));
  chmodSync(folder, 0o755);
  return folder;
}

/** The environment of a person: nothing of Argus in it, unless a test adds it. */
function personEnvironment(added: Record<string, string> = {}): Record<string, string> {
  const kept = Object.entries(process.env).filter(
    (entry): entry is [string, string] =>
      entry[1] !== undefined && !/^(ARGUS_|OPENAI_|KUBECONFIG$|NODE_|VITEST)/.test(entry[0]),
  );
  return { ...Object.fromEntries(kept), ...added };
}

/** Runs `./argus …` to its end. */
export async function argus(
  args: string[],
  options: { env?: Record<string, string>; input?: string } = {},
): Promise<Finished> {
  return await finish(
    spawn(join(root, "argus"), args, { env: personEnvironment(options.env), stdio: "pipe" }),
    options.input,
  );
}

async function finish(child: ChildProcess, input = ""): Promise<Finished> {
  const out: Finished = { code: null, stdout: "", stderr: "" };
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => (out.stdout += chunk));
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => (out.stderr += chunk));
  child.stdin?.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  return { ...out, code };
}

/** The real `./argus up` on a folder and ports of its own. */
export class ArgusUp {
  readonly data: string;
  output = "";
  url = "";
  token = "";
  readonly #child: ChildProcess;
  readonly #exit: Promise<number | null>;

  static async start(options: UpOptions = {}): Promise<ArgusUp> {
    const up = new ArgusUp(options.data ?? temporaryData(), options.env ?? {});
    await up.#ready();
    return up;
  }

  private constructor(data: string, env: Record<string, string>) {
    this.data = data;
    const args = ["up", "--data", data, "--port", "0", "--api-port", "0"];
    this.#child = spawn(join(root, "argus"), args, { env: personEnvironment(env), stdio: "pipe" });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (chunk: string) => (this.output += chunk));
    }
    this.#exit = once(this.#child, "close").then(([code]) => code as number | null);
  }

  async #ready(): Promise<void> {
    await eventually("argus up says that it is ready", () => {
      if (this.#child.exitCode !== null) throw new Error(`argus up ended: ${this.output}`);
      return this.output.includes("Argus is ready");
    });
    const client = JSON.parse(readFileSync(join(this.data, "client.json"), "utf8")) as {
      url: string;
      token: string;
    };
    this.url = client.url;
    this.token = client.token;
  }

  get kubeconfig(): string {
    return join(this.data, "kubeconfig");
  }

  /** The real kubectl against this installation; whatever its exit code. */
  async tryKubectl(args: string[], input = ""): Promise<Outcome> {
    return await kubectl(this.kubeconfig, args, { input, timeoutMs: 90_000 });
  }

  /** The same, but a failure is thrown. Answers what it printed. */
  async kubectl(args: string[], input = ""): Promise<string> {
    const { code, stdout, stderr } = await this.tryKubectl(args, input);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  /** `./argus …` against this installation, left running. */
  spawn(args: string[]): ChildProcess {
    const env = personEnvironment({ ARGUS_DATA: this.data });
    return spawn(join(root, "argus"), args, { env, stdio: "ignore" });
  }

  async connect(query: Record<string, string> = {}): Promise<WsClient> {
    return await WsClient.connect({ url: this.url, token: this.token, query });
  }

  /** Everything that this installation runs: the supervisor, its children, pods and what those started. */
  processes(): FoundProcess[] {
    return processesOf(this.data);
  }

  /** Processes whose command line holds `words`, for example `argus.mjs gateway`. */
  find(words: string): FoundProcess[] {
    return this.processes().filter(({ command }) => command.includes(words));
  }

  killAll(): void {
    killAll(this.processes());
  }

  /** The exit code, once it has ended by whatever means. */
  ended(): Promise<number | null> {
    return this.#exit;
  }

  /** Ctrl-C; answers the exit code. */
  async stop(): Promise<number | null> {
    if (this.#child.exitCode === null) this.#child.kill("SIGINT");
    return await this.#exit;
  }

  /** Ctrl-C, then whatever is left and the folder: for afterAll. */
  async destroy(): Promise<void> {
    await this.stop();
    this.killAll();
    rmSync(this.data, { recursive: true, force: true, maxRetries: 5 });
  }
}
