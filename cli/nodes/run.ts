import { randomUUID } from "node:crypto";
import { constants } from "node:os";
import { z } from "zod";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError, type ErrorCode } from "#lib/errors.ts";
import type { OutputName } from "#protocol/node.ts";
import { NODE_STREAM_ENDED, NodeAnswer, NodeStreamEnded } from "#protocol/node-methods.ts";
import { type ClientFile, findGateway } from "../client.ts";
import { durationMs } from "../duration.ts";
import { EXIT } from "../exit.ts";
import { tuneCollector } from "../node-flags.ts";
import type { NodesCommand } from "./commands.ts";
import { type GatewayLink, sessionOf, withLink } from "./link.ts";
import { OutputWriter } from "./output.ts";
import { sayQueued } from "./queued.ts";
import { LocalTerminal } from "./terminal.ts";

export interface RunCommand extends NodesCommand {
  node: string;
  argv: string[];
  cwd?: string;
  env?: string[];
  timeout?: string;
  /** How long it may wait for a device that is away: `24h`. */
  queue?: string;
  raw?: boolean;
  /** On a terminal, which is ours. */
  tty?: boolean;
}

const RETRY = { baseMs: 200, maxMs: 5000 };
/** Without a gateway. */
const GIVE_UP_MS = 120_000;
const Started = z.object({ jobId: z.string() });

/**
 * Runs a program on a device as `ssh` would: its outputs are ours, its exit code is ours. A lost connection is made again and the
 * output goes on where it was. Ctrl-C ends the program; on a terminal (`tty`) every key is the program's, and `~.` leaves it.
 */
export async function run(command: RunCommand): Promise<number> {
  tuneCollector();
  if (command.tty && command.queue)
    throw new ArgusError("InvalidInput", "a terminal does not wait: give -t or --queue");
  const work = new RemoteRun(command, findGateway(command));
  process.once("SIGINT", () => void work.interrupt());
  process.once("SIGTERM", () => void work.interrupt());
  if (command.tty) process.once("SIGHUP", () => void work.interrupt());
  return await work.done();
}

class RemoteRun {
  readonly #command: RunCommand;
  readonly #gateway: ClientFile;
  readonly #session: string | undefined;
  /** A repeat after a lost connection is the same call: it starts nothing twice. */
  readonly #callId = randomUUID();
  readonly #offsets: Record<OutputName, number> = { stdout: 0, stderr: 0 };
  readonly #writers: Record<OutputName, OutputWriter>;
  #jobId: string | undefined;
  #interrupted = false;
  readonly #terminal: LocalTerminal | undefined;
  /** The person leaves the program, which runs on. */
  readonly #leaving = new AbortController();

  constructor(command: RunCommand, gateway: ClientFile) {
    this.#command = command;
    this.#gateway = gateway;
    this.#session = sessionOf(command.session, command.node);
    const { tty = false, raw = tty } = command;
    this.#terminal = tty ? new LocalTerminal() : undefined;
    void this.#terminal?.left.then(() => this.#leaving.abort());
    this.#writers = {
      stdout: new OutputWriter(process.stdout, raw),
      stderr: new OutputWriter(process.stderr, raw),
    };
  }

  async done(): Promise<number> {
    let isClean = false;
    try {
      const code = await this.#followed();
      isClean = !this.#leaving.signal.aborted;
      return code;
    } finally {
      this.#terminal?.end(isClean);
      if (this.#leaving.signal.aborted) this.#sayLeft();
    }
  }

  #sayLeft(): void {
    const { node } = this.#command;
    process.stderr.write(
      `argus: left; it runs on as ${this.#jobId}: argus jobs kill ${node} ${this.#jobId} ends it\n`,
    );
  }

  async #followed(): Promise<number> {
    const { signal } = this.#leaving;
    let lastContact = Date.now();
    for (let attempt = 0; ; attempt += 1) {
      try {
        const end = await withLink(this.#gateway, this.#session, (link) => {
          attempt = 0;
          return this.#follow(link).finally(() => {
            this.#terminal?.detach();
            lastContact = Date.now();
          });
        });
        if (typeof end === "number") return end;
        await Promise.all([this.#writers.stdout.end(), this.#writers.stderr.end()]);
        return exitCode(end);
      } catch (error) {
        const passes = error instanceof ArgusError && error.code === "Unavailable";
        if (!passes || Date.now() - lastContact > GIVE_UP_MS) throw error;
        await systemClock.sleep(backoffMs(attempt, RETRY), signal).catch(() => undefined);
        if (signal.aborted) return EXIT.ok;
      }
    }
  }

  /** A number: it waits for its device, and that was said. */
  async #follow(link: GatewayLink): Promise<NodeStreamEnded | number> {
    const answer = this.#jobId === undefined ? await this.#start(link) : undefined;
    const queued = answer && sayQueued(answer);
    if (queued !== undefined) return queued;
    if (this.#jobId === undefined) this.#terminal?.begin();
    this.#jobId ??= Started.parse(answer?.payload).jobId;
    if (this.#interrupted) await this.#kill(link);
    const ended = this.#outputs(link);
    const { stdout: stdoutOffset, stderr: stderrOffset } = this.#offsets;
    const { node } = this.#command;
    const where = { node, jobId: this.#jobId, stdoutOffset, stderrOffset };
    await link.request("argus/node/stream/open", { streamId: 1, ...where });
    this.#terminal?.attach({ link, node, jobId: this.#jobId });
    const left = aborted(this.#leaving.signal).then(() => EXIT.ok);
    return await Promise.race([ended, left, link.closed.then((error) => Promise.reject(error))]);
  }

  async #start(link: GatewayLink): Promise<NodeAnswer> {
    const { node, argv, cwd, env = [], timeout, queue, environment } = this.#command;
    const terminal = this.#terminal && { pty: this.#terminal.size };
    // Programs draw for the terminal that they are shown on.
    const given = {
      ...(terminal && environment.TERM ? { TERM: environment.TERM } : {}),
      ...environmentOf(env),
    };
    const params = {
      argv,
      // Followed here, by its output; its end is nobody else's business.
      yieldMs: 0,
      notifyOnExit: false,
      outputBytes: 0,
      ...(cwd ? { cwd } : {}),
      ...(Object.keys(given).length > 0 ? { env: given } : {}),
      ...terminal,
      ...(timeout ? { timeoutMs: Number(timeout) * 1000 } : {}),
    };
    const wait = queue === undefined ? {} : { queueForMs: durationMs(queue) };
    const call = { node, command: "system.run", params, callId: this.#callId, ...wait };
    const answer = NodeAnswer.parse(await link.request("argus/node/invoke", call));
    if (!answer.ok) throw failed(answer);
    return answer;
  }

  /** Takes bytes at the pace of our own outputs; resolves with the end. */
  #outputs(link: GatewayLink): Promise<NodeStreamEnded> {
    link.onChunk = ({ output, offset, bytes }) => {
      if (offset !== this.#offsets[output]) return;
      this.#offsets[output] += bytes.length;
      if (this.#writers[output].write(bytes)) return;
      link.pause();
      void this.#writers[output].drained().then(() => link.resume());
    };
    return new Promise((resolve) => {
      link.onNotification = (method, params) => {
        if (method === NODE_STREAM_ENDED) resolve(NodeStreamEnded.parse(params));
      };
    });
  }

  async interrupt(): Promise<void> {
    this.#interrupted = true;
    process.once("SIGINT", () => process.exit(EXIT.interrupted));
    await withLink(this.#gateway, this.#session, (link) => this.#kill(link)).catch(() => undefined);
  }

  async #kill(link: GatewayLink): Promise<void> {
    if (!this.#jobId) return;
    const { node } = this.#command;
    const params = { jobId: this.#jobId };
    await link.request("argus/node/invoke", { node, command: "process.kill", params });
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });

function environmentOf(pairs: string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf("=");
      if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)];
      throw new ArgusError("InvalidInput", `${pair}: give --env NAME=value`);
    }),
  );
}

const CODES: Record<string, ErrorCode> = {
  NOT_CONNECTED: "Unavailable",
  DENIED: "Forbidden",
  CANCELED: "Forbidden",
  BUSY: "Busy",
  TIMEOUT: "Timeout",
  NOT_FOUND: "NotFound",
};

/** A refusal of the device. An absent one is not waited for: a person sees that at once. */
export function failed({ nodeId, error }: NodeAnswer): ArgusError {
  const { code = "", message = "" } = error ?? {};
  const known = CODES[code] === "Unavailable" ? "NotFound" : CODES[code];
  return new ArgusError(known ?? "InvalidInput", `${nodeId}: ${code}: ${message}`);
}

function exitCode({ exitCode: code, signal, timedOut, reason, error }: NodeStreamEnded): number {
  if (error) throw new ArgusError("Timeout", `${error.code}: ${error.message ?? ""}`);
  const say = (words: string) => process.stderr.write(`argus: ${words}\n`);
  if (timedOut) say("the program was ended at its time-out");
  if (reason) say(reason);
  if (typeof code === "number") return code;
  const number = constants.signals[(signal ?? "") as NodeJS.Signals];
  return number === undefined ? EXIT.internal : 128 + number;
}
