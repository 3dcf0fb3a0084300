import { errorMessage } from "#lib/errors.ts";
import {
  MAX_TRANSCRIPT,
  TranscribeParams,
  type TranscribeResult,
} from "#protocol/workspace-files.ts";
import { withNpmPrefix } from "./npm-prefix.ts";
import { OutputTail } from "./output-tail.ts";
import { failureWords, runShell } from "./shell.ts";
import { existingFile } from "./workspace-files.ts";

/** A voice message that takes longer is not listened to: the message waits for it. */
const TRANSCRIBE_MS = 120_000;
/** Sound files that are listened to at once; a further one is refused. */
const MAX_AT_ONCE = 2;
/** Bytes of one character, at most. */
const MAX_OUTPUT_BYTES = 4 * MAX_TRANSCRIPT;
const MAX_REASON = 300;

export interface TranscriberOptions {
  /** Shell text that prints what is said in the file `$1`; undefined = nobody listens. */
  script: string | undefined;
  workspace: string;
  home: string;
  env: Record<string, string>;
  /** A command line as it is to be started: under the session's process limit. */
  limited: (command: string[]) => string[];
  signal: AbortSignal;
  /** Default 2 minutes. */
  deadlineMs?: number;
}

/** Listens to sound files of the workspace by the owner's command, as the session's user. */
export class Transcriber {
  readonly #options: TranscriberOptions;
  #running = 0;

  constructor(options: TranscriberOptions) {
    this.#options = options;
  }

  /** Throws a refusal when there is no such file; a command that fails is an answer. */
  async transcribe(params: unknown): Promise<TranscribeResult> {
    const { script, workspace } = this.#options;
    if (!script) return { state: "none" };
    const file = await existingFile(workspace, TranscribeParams, params);
    if (this.#running >= MAX_AT_ONCE) return failed("other voice messages are listened to now");
    this.#running += 1;
    try {
      return await this.#run(script, file);
    } catch (error) {
      return failed(`the command could not be run: ${errorMessage(error)}`);
    } finally {
      this.#running -= 1;
    }
  }

  async #run(script: string, file: string): Promise<TranscribeResult> {
    const { workspace, home, env, limited, signal, deadlineMs = TRANSCRIBE_MS } = this.#options;
    const heard = new BoundedOutput();
    const tail = new OutputTail();
    const end = await runShell({
      command: limited(["/bin/sh", "-ec", script, "argus-transcribe", file]),
      cwd: workspace,
      env: withNpmPrefix(env, home),
      signal,
      deadlineMs,
      onOutput: (chunk) => heard.push(chunk),
      onError: (chunk) => tail.push(chunk),
    });
    const failure = failureWords("the command", end);
    if (failure !== undefined) return failed(tail.text(failure));
    const text = heard.text.trim();
    if (text === "") return failed("the command heard nothing");
    return {
      state: "done",
      text: text.slice(0, MAX_TRANSCRIPT),
      cut: text.length > MAX_TRANSCRIPT,
    };
  }
}

const failed = (reason: string): TranscribeResult => ({
  state: "failed",
  reason: reason.slice(-MAX_REASON).toWellFormed(),
});

/** The beginning of a program's output, in bounded memory. */
class BoundedOutput {
  #bytes = 0;
  readonly #chunks: Buffer[] = [];

  push(chunk: Buffer): void {
    const kept = chunk.subarray(0, MAX_OUTPUT_BYTES - this.#bytes);
    if (kept.length === 0) return;
    this.#bytes += kept.length;
    this.#chunks.push(kept);
  }

  get text(): string {
    return Buffer.concat(this.#chunks).toString("utf8").toWellFormed();
  }
}
