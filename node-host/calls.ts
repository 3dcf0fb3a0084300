import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { InvokeCancel, InvokeRequest, type InvokeResult } from "#protocol/node.ts";
import { Answers } from "./answers.ts";
import { APPROVAL_TTL_MS, type Approvals } from "./approvals.ts";
import { parseParams, runCommand, type Tools } from "./commands.ts";
import { KILL_GRACE_MS } from "./job.ts";
import { NodeError } from "./node-error.ts";
import { type Asked, decide, type Policy } from "./policy.ts";
import { realPath } from "./real-path.ts";

const PREVIEW = 200;
const SUMMARY = 4096;

export interface CallsOptions {
  tools: Tools;
  approvals: Approvals;
  /** Read at each call: the owner may have changed it. */
  policy: () => Promise<Policy>;
  defaultCwd: string;
  logger: Logger;
}

/** What the gateway asks for: parsed, decided by the device's policy, run once, answered as often as it is asked. */
export class Calls {
  readonly #options: CallsOptions;
  readonly #answers = new Answers();
  readonly #cancels = new Map<string, AbortController>();

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  answer(payload: unknown): Promise<Omit<InvokeResult, "nodeId">> {
    const request = InvokeRequest.parse(payload);
    return this.#answers.once(request.id, () => this.#act(request));
  }

  cancel(payload: unknown): void {
    const { id } = InvokeCancel.parse(payload);
    this.#cancels.get(id)?.abort();
    // Started before a restart of this process, or its answer is on its way already.
    const job = this.#cancels.has(id) ? undefined : this.#options.tools.jobs.byCall(id);
    if (job && !job.exit) void job.kill(KILL_GRACE_MS).catch(() => undefined);
  }

  async #act(request: InvokeRequest): Promise<Omit<InvokeResult, "nodeId">> {
    const { id } = request;
    const cancel = new AbortController();
    this.#cancels.set(id, cancel);
    try {
      return { id, ok: true, payload: await this.#run(request, cancel.signal), error: null };
    } catch (error) {
      if (!(error instanceof NodeError))
        this.#options.logger.error(
          { err: error, invoke: id },
          "a command failed in a way that is a defect",
        );
      const code = error instanceof NodeError ? error.code : "NOT_READY";
      const job = error instanceof NodeError && error.jobId ? { jobId: error.jobId } : {};
      return { id, ok: false, error: { code, message: errorMessage(error), ...job } };
    } finally {
      this.#cancels.delete(id);
    }
  }

  async #run(request: InvokeRequest, signal: AbortSignal): Promise<object> {
    const { id, command } = request;
    const sessionId = request.sessionId ?? null;
    const params = parseJson(request.paramsJSON);
    const value = parseParams(command, params).value as Given;
    const asked = await this.#asked(request, value, sessionId);
    const effect = decide(await withoutLinks(await this.#options.policy()), asked);
    const audit = { invoke: id, command, session: sessionId, effect, preview: preview(asked) };
    this.#options.logger.info(audit, "command received");
    if (effect === "deny") throw new NodeError("DENIED", "this device's policy denies it");
    const known = this.#options.tools.jobs.byCall(id);
    // Allowed and started already, before a restart of this process.
    const isDecided = known !== undefined || this.#isOwnTerminal(asked, value);
    if (effect === "ask" && !isDecided) await this.#ask(request, asked, signal);
    const caller = { callId: id, sessionId, by: asked.by };
    return runCommand(this.#options.tools, { command, params, ...caller, signal });
  }

  #ask(request: InvokeRequest, asked: Asked, signal: AbortSignal): Promise<void> {
    const what = asked.argv?.join(" ") ?? asked.folder ?? asked.command;
    const summary = `${written(request)}${what}`.slice(0, SUMMARY);
    const question = {
      invokeId: request.id,
      sessionId: asked.session,
      command: asked.command,
      summary,
      cwd: asked.folder ?? null,
    };
    const ttlMs = Math.max(1, Math.min(request.timeoutMs ?? APPROVAL_TTL_MS, APPROVAL_TTL_MS));
    return this.#options.approvals.allowed(question, ttlMs, signal);
  }

  async #asked(
    { command, by }: InvokeRequest,
    { path, env, ...given }: Given,
    session: string | null,
  ): Promise<Asked> {
    // Whoever feeds a program or ends it does that to what was started, where it was started.
    const { argv, cwd } = this.#jobOf(given, session) ?? given;
    const folder = path ?? (argv ? (cwd ?? this.#options.defaultCwd) : undefined);
    return {
      command,
      session,
      by: by ?? "agent",
      ...(argv ? { argv } : {}),
      ...(folder ? { folder: await realPath(folder) } : {}),
      ...(env ? { envNames: Object.keys(env) } : {}),
    };
  }

  /** Who was allowed a terminal may type into it: that is what it is for. */
  #isOwnTerminal({ command, session, by }: Asked, { jobId }: Given): boolean {
    if (jobId === undefined || !/^process\.(write|resize)$/.test(command)) return false;
    return this.#options.tools.jobs.get(jobId, session).meta.terminalFor === by;
  }

  #jobOf({ jobId }: Given, session: string | null) {
    return jobId === undefined ? undefined : this.#options.tools.jobs.get(jobId, session).meta;
  }
}

/** What a policy may look at of a command's parameters. */
interface Given {
  argv?: string[];
  cwd?: string;
  path?: string;
  env?: Record<string, string>;
  jobId?: string;
}

/** A rule's folder may be written through a link, too. */
async function withoutLinks(policy: Policy): Promise<Policy> {
  const rules = policy.rules.map(async (rule) =>
    rule.folder === undefined ? rule : { ...rule, folder: await realPath(rule.folder) },
  );
  return { ...policy, rules: await Promise.all(rules) };
}

/** The words that would be written to a program, before its name. */
function written({ command, paramsJSON }: InvokeRequest): string {
  const { pty } = parseJson(paramsJSON) as { pty?: unknown };
  if (command === "system.run" && pty) return "on a terminal, where more can be typed: ";
  if (command !== "process.write") return "";
  const { dataBase64 = "" } = parseJson(paramsJSON) as { dataBase64?: string };
  return `write ${JSON.stringify(Buffer.from(dataBase64, "base64").toString("utf8").slice(0, PREVIEW))} to: `;
}

const preview = ({ argv, folder }: Asked) => (argv?.join(" ") ?? folder ?? "").slice(0, PREVIEW);

function parseJson(text: string | null | undefined): unknown {
  try {
    return text ? JSON.parse(text) : {};
  } catch {
    throw new NodeError("BAD_INPUT", "paramsJSON is not JSON");
  }
}
