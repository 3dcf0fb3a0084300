import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import type { OpenTurn } from "#protocol/lane-entry.ts";
import { MAX_TOLD_THREADS, type SessionDocument } from "#protocol/session-document.ts";
import { endTurn, loseThread } from "../state/turns.ts";
import { attachmentWords, bringAttachments, imageItems, listenTo } from "./attachments.ts";
import { hasTasks, knowTasks } from "./heartbeat.ts";
import type { LaneOptions } from "./lane.ts";
import { type Link, Refused } from "./lane-peer.ts";
import { type ContextFiles, prompt, toldAfter, toldTo } from "./prompt.ts";
import { RunningTurn } from "./running-turn.ts";
import { DEFAULT_TURN } from "./silence.ts";
import { runTurn, type TurnEnd, type TurnStart } from "./turn.ts";

const Entry = z.union([
  z.object({ text: z.string().max(128 * 1024), truncated: z.boolean() }),
  z.object({ error: z.string().max(4096) }),
]);
const Context = z.looseObject({ files: z.record(z.string().max(64), Entry) });

export interface RunnerOptions extends LaneOptions {
  /** The open turn runs, under the app-server's id. */
  onRunning: (turn: OpenTurn, turnId: string) => void;
}

/** Runs a session's open turn: assembles what the agent is told, follows the turn, and commits its end with all that follows. */
export class TurnRunner {
  readonly #options: RunnerOptions;
  #running: RunningTurn | undefined;
  #isStarting = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
  }

  /** What the turn that runs is doing, in words; empty when none runs. */
  get words(): string {
    return this.#running?.words ?? "";
  }

  /** What a turn waits for that the agent was asked to start and that does not run yet, in words; empty when there is none. */
  get startWords(): string {
    return this.#isStarting
      ? "The agent begins its turn: it loads the conversation and starts its MCP servers."
      : "";
  }

  /** Stops the turn if it runs; one that does not run yet is stopped when it does. */
  stop({ stop = "stopped" }: OpenTurn): void {
    this.#running?.stop(stop);
  }

  /** Whether HEARTBEAT.md asks for anything, also when nobody can tell; what was read is remembered for the time without a pod. */
  async hasTasks(link: Link): Promise<boolean> {
    const tasks = tasksIn(await this.#context(link));
    await this.#options.state.update((document) => knowTasks(document, this.#trusted(tasks)));
    return tasks !== false;
  }

  /** A client's own turns may write into HEARTBEAT.md at any time: while one is there, an empty file proves nothing for later. */
  #trusted(tasks: boolean | undefined): boolean | undefined {
    return tasks === false && this.#options.hasClients() ? undefined : tasks;
  }

  /** Brings the open turn to its end: starts it, or joins it where it was started before. */
  async settle(turn: OpenTurn, link: Link, mainThread: () => Promise<string>): Promise<void> {
    const { state, world, limit, name, onEnded } = this.#options;
    const threadId = turn.threadId ?? (await mainThread());
    const { text, told, images } = await this.#prompt(turn, threadId, link);
    world.logger.info({ session: name, turn: turn.id, threadId }, "turn is being started");
    const input = [{ type: "text", text, text_elements: [] }, ...images];
    const start = { id: turn.id, threadId, input };
    const end = await this.#run(link, start, turn);
    if (isLost(end) && state.current.mainThread === threadId) return this.#lose(threadId);
    // After a compaction, or when it was told other words earlier, nobody knows what the thread still has.
    const isSure = !end.joined && this.#running?.record.compacted !== true;
    const ended = await this.#ended(end);
    const tasks = this.#trusted(tasksIn(await this.#context(link)));
    const facts = { id: turn.id, threadId, now: world.clock.now(), limit };
    const done = await state.reduce((document) => {
      const { document: after, answer } = endTurn(document, { ...ended, ...facts });
      if (!answer) return { document: after, answer };
      const known = knowTasks(after, tasks);
      return { document: didRun(end) ? tell(known, threadId, isSure ? told : {}) : known, answer };
    });
    if (done) onEnded(done);
  }

  /** Throws, so that another thread is tried a little later. */
  async #lose(threadId: string): Promise<never> {
    await this.#options.state.update((document) => loseThread(document, threadId));
    const message =
      "The agent does not have the session's main thread any more; a new one is made.";
    throw new ArgusError("NotFound", message, { threadId });
  }

  async #run(link: Link, start: TurnStart, turn: OpenTurn): Promise<TurnEnd> {
    const { threadId } = start;
    this.#isStarting = true;
    try {
      return await runTurn(link, start, (turnId, record) => {
        this.#isStarting = false;
        this.#follow({ turn, link, threadId, turnId, record });
        this.#options.onRunning(turn, turnId);
      });
    } catch (error) {
      // The turn may run on; whoever comes next joins it.
      this.#running?.leave();
      this.#running = undefined;
      throw error;
    } finally {
      this.#isStarting = false;
    }
  }

  #follow({ turn, ...rest }: FollowedTurn): void {
    const { world, onProgress } = this.#options;
    const { clock, logger } = world;
    const spec = world.session()?.spec.turn ?? DEFAULT_TURN;
    const { id, kind, inputId } = turn;
    const { threadId } = rest;
    const input = this.#options.state.current.inputs.find((each) => each.id === inputId);
    const about = { id, kind, inputId, threadId, source: input?.source ?? null };
    const onWords = (words: string) => onProgress({ ...about, words });
    this.#running = new RunningTurn({ ...rest, spec, clock, logger, onWords });
    if (turn.stop !== undefined) this.#running.stop(turn.stop);
    const latest = this.#options.state.current.turn;
    if (latest?.id === turn.id && latest.stop !== undefined) this.#running.stop(latest.stop);
  }

  /** The end in the words of whoever stopped it. */
  async #ended(end: TurnEnd): Promise<TurnEnd> {
    const running = this.#running;
    this.#running = undefined;
    await running?.end();
    const stopped = running?.stopped;
    return end.outcome === "interrupted" && stopped ? { ...end, reason: stopped } : end;
  }

  async #prompt(turn: OpenTurn, threadId: string, link: Link) {
    const { state, name, world } = this.#options;
    const { inputs, events, told } = state.current;
    const input = inputs.find(({ id }) => id === turn.inputId);
    const files = input ? await bringAttachments(input, link, world.files) : [];
    const brought = await listenTo(files, link);
    const whole = prompt({
      session: name,
      kind: turn.kind,
      text: input?.text ?? "",
      attachments: attachmentWords(brought),
      events: events.filter(({ id }) => turn.eventIds.includes(id)),
      files: (await this.#context(link)) ?? {},
      told: toldTo(told, threadId),
    });
    return { ...whole, images: imageItems(brought) };
  }

  /** The workspace's context files; undefined = the bridge cannot give them: the turn runs without. */
  async #context(link: Link): Promise<ContextFiles | undefined> {
    try {
      return Context.safeParse(await link.request("bridge/context", {})).data?.files;
    } catch (error) {
      if (error instanceof Refused) return undefined;
      throw error;
    }
  }
}

type FollowedTurn = { turn: OpenTurn } & Pick<
  ConstructorParameters<typeof RunningTurn>[0],
  "link" | "threadId" | "turnId" | "record"
>;

/** Whether HEARTBEAT.md asks for anything; undefined = it could not be read. */
function tasksIn(files: ContextFiles | undefined): boolean | undefined {
  const entry = files?.["HEARTBEAT.md"];
  if (!files || (entry && "error" in entry)) return undefined;
  return entry !== undefined && hasTasks(entry.text);
}

/** Nothing was started, for the runtime does not know the thread. */
function isLost({ outcome, reason }: TurnEnd): boolean {
  return outcome === "refused" && /no rollout found|thread not found/i.test(reason);
}

/** Whether the app-server has the turn's words in its history. */
function didRun({ outcome }: TurnEnd): boolean {
  return outcome === "done" || outcome === "interrupted";
}

function tell(
  document: SessionDocument,
  threadId: string,
  files: Record<string, string>,
): SessionDocument {
  return { ...document, told: toldAfter(document.told, threadId, files, MAX_TOLD_THREADS) };
}
