import { z } from "zod";
import type { OpenTurn } from "#protocol/lane-entry.ts";
import { MAX_TOLD_THREADS, type SessionDocument } from "#protocol/session-document.ts";
import { endTurn } from "../state/turns.ts";
import { hasTasks, knowTasks } from "./heartbeat.ts";
import type { LaneOptions } from "./lane.ts";
import { type Link, Refused } from "./lane-peer.ts";
import { type ContextFiles, prompt, toldAfter, toldTo } from "./prompt.ts";
import { RunningTurn } from "./running-turn.ts";
import { DEFAULT_TURN, runningWords } from "./silence.ts";
import { runTurn, type TurnEnd, type TurnStart } from "./turn.ts";

const Entry = z.union([
  z.object({ text: z.string().max(128 * 1024), truncated: z.boolean() }),
  z.object({ error: z.string().max(4096) }),
]);
const Context = z.looseObject({ files: z.record(z.string().max(64), Entry) });

/** Runs a session's open turn: assembles what the agent is told, follows the turn, and commits its end with all that follows. */
export class TurnRunner {
  readonly #options: LaneOptions;
  #running: RunningTurn | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** What the turn that runs is doing, in words; empty when none runs. */
  get words(): string {
    return this.#running ? runningWords(this.#running.record) : "";
  }

  /** Stops the turn if it runs; one that does not run yet is stopped when it does. */
  stop({ stop = "stopped" }: OpenTurn): void {
    this.#running?.stop(stop);
  }

  /** Whether HEARTBEAT.md asks for anything; what was read is remembered for the time when nobody can read it. */
  async hasTasks(link: Link): Promise<boolean> {
    const files = await this.#context(link);
    const entry = files["HEARTBEAT.md"];
    const tasks = entry !== undefined && "text" in entry && hasTasks(entry.text);
    await this.#options.state.update((document) => knowTasks(document, tasks));
    return tasks;
  }

  /** Brings the open turn to its end: starts it, or joins it where it was started before. */
  async settle(turn: OpenTurn, link: Link, mainThread: () => Promise<string>): Promise<void> {
    const { state, world, limit, name, onEnded } = this.#options;
    const threadId = turn.threadId ?? (await mainThread());
    const { text, told } = await this.#prompt(turn, threadId, link);
    world.logger.info({ session: name, turn: turn.id, threadId }, "turn is being started");
    const start = { id: turn.id, threadId, input: [{ type: "text", text, text_elements: [] }] };
    const end = await this.#run(link, start, turn);
    const compacted = this.#running?.record.compacted ?? false;
    const ended = await this.#ended(end);
    const facts = { id: turn.id, threadId, now: world.clock.now(), limit };
    const done = await state.reduce((document) => {
      const { document: after, answer } = endTurn(document, { ...ended, ...facts });
      const files = compacted ? {} : told;
      return { document: answer && didRun(end) ? tell(after, threadId, files) : after, answer };
    });
    if (done) onEnded(done);
  }

  async #run(link: Link, start: TurnStart, turn: OpenTurn): Promise<TurnEnd> {
    const { threadId } = start;
    try {
      return await runTurn(link, start, (turnId, record) => {
        this.#follow({ turn, link, threadId, turnId, record });
      });
    } catch (error) {
      // The turn may run on; whoever comes next joins it.
      this.#running?.leave();
      this.#running = undefined;
      throw error;
    }
  }

  #follow({ turn, ...rest }: FollowedTurn): void {
    const { world, onProgress } = this.#options;
    const { clock, logger } = world;
    const spec = world.session()?.spec.turn ?? DEFAULT_TURN;
    this.#running = new RunningTurn({ ...rest, spec, clock, logger });
    if (turn.stop !== undefined) this.#running.stop(turn.stop);
    const latest = this.#options.state.current.turn;
    if (latest?.id === turn.id && latest.stop !== undefined) this.#running.stop(latest.stop);
    onProgress(turn, "");
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
    const { state, name } = this.#options;
    const { inputs, events, told } = state.current;
    return prompt({
      session: name,
      kind: turn.kind,
      text: inputs.find(({ id }) => id === turn.inputId)?.text ?? "",
      events: events.filter(({ id }) => turn.eventIds.includes(id)),
      files: await this.#context(link),
      told: toldTo(told, threadId),
    });
  }

  /** The workspace's context files. A bridge that cannot give them has none: the turn runs without. */
  async #context(link: Link): Promise<ContextFiles> {
    try {
      const answer = Context.safeParse(await link.request("bridge/context", {}));
      return answer.data?.files ?? {};
    } catch (error) {
      if (error instanceof Refused) return {};
      throw error;
    }
  }
}

type FollowedTurn = { turn: OpenTurn } & Pick<
  ConstructorParameters<typeof RunningTurn>[0],
  "link" | "threadId" | "turnId" | "record"
>;

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
