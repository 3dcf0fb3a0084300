import { type LineScan, names, scanLine, scanMembers, stringAt, valueAt } from "#lib/scan.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { ServerRequestIds } from "./ids.ts";
import type { Peer } from "./peer.ts";
import { errorLine, notificationLine, resultLine } from "./rpc.ts";

/** Requests of the app-server that wait for a peer's answer. */
export const MAX_OPEN_ASKS = 256;
export const MAX_OPEN_ASK_BYTES = 64 * 1024 * 1024;
/** Answered ones whose end the app-server has not told. */
export const MAX_ANSWERED_ASKS = 512;
/** After this a question counts as answered with no. */
export const ASK_DEADLINE_MS = 30 * 60_000;

const THREAD = names("threadId", "requestId");
const ERROR = names("error");
const CODE = names("code");
/** What "no" looks like; not `cancel`, which would end the turn. Any other kind gets a JSON-RPC error. */
const DECLINED: Record<string, unknown> = {
  "item/commandExecution/requestApproval": { decision: "decline" },
  "item/fileChange/requestApproval": { decision: "decline" },
  "mcpServer/elicitation/request": { action: "decline", content: null, _meta: null },
};

export interface AsksOptions {
  /** Of the first request; every number is used once in a boot. */
  firstId: number;
  deadlineMs?: number;
  /** To the app-server. */
  write: (line: Buffer) => void;
  tell: (peer: Peer, line: Buffer) => void;
  peers: () => ReadonlySet<Peer>;
  ownerOf: (threadId: string) => Peer | undefined;
}

interface Ask {
  id: number;
  method: string;
  threadId: string;
  /** With our number. */
  line: Buffer;
  offered: Set<Peer>;
  /** Peers that do not know this kind of question; the others may. */
  withdrawn: Set<Peer>;
  /** A peer had it and left without a word: it may come back. */
  left: boolean;
  deadline: number;
}

/**
 * The app-server's questions: each goes to its turn's owner, else to lanes and a client; the first answer wins; none waits for ever.
 * A peer that answers "method not found" has only withdrawn: the question goes on to the next one.
 */
export class Asks {
  readonly #options: AsksOptions;
  readonly #ids: ServerRequestIds;
  readonly #open = new Map<number, Ask>();
  #answered: number[] = [];
  #bytes = 0;

  constructor(options: AsksOptions) {
    this.#options = options;
    this.#ids = new ServerRequestIds(options.firstId);
  }

  get size(): number {
    return this.#open.size;
  }

  /** A line of the app-server with an id and a method. An open one that is repeated (thread/resume replays) goes nowhere. */
  fromAppServer(line: Buffer, scan: LineScan, now: number): void {
    if (!scan.id) return;
    const { id, line: rewritten, repeated } = this.#ids.offer(line, scan.id);
    // Once answered, an id may be used anew by a runtime that tells no end of its questions.
    if (repeated && this.#open.has(id)) return;
    const ask: Ask = {
      id,
      method: stringAt(line, scan.method) ?? "",
      threadId: stringAt(line, scanMembers(line, scan.params?.start ?? -1, THREAD)[0]) ?? "",
      line: rewritten,
      offered: new Set(),
      withdrawn: new Set(),
      left: false,
      deadline: now + (this.#options.deadlineMs ?? ASK_DEADLINE_MS),
    };
    if (this.#open.size >= MAX_OPEN_ASKS || this.#bytes + line.length > MAX_OPEN_ASK_BYTES) {
      this.#settle(ask, refusal(ask, "too many questions of the app-server are open"));
      return;
    }
    this.#open.set(id, ask);
    this.#bytes += rewritten.length;
    this.#offer(ask);
  }

  /** A peer's answer. Anything but the first answer to an open question is dropped. */
  answer(peer: Peer, line: Buffer, scan: LineScan): void {
    const answered = scan.id && this.#ids.answer(line, scan.id);
    const ask = answered && this.#open.get(answered.id);
    if (!ask || ask.withdrawn.has(peer)) return;
    if (isNotUnderstood(line, scan)) return this.#withdraw(ask, peer);
    this.#close(ask);
    this.#noteAnswered(answered.id);
    this.#options.write(answered.line);
  }

  /** `serverRequest/resolved`: the line with our number in place of the app-server's. */
  resolved(line: Buffer, scan: LineScan): Buffer {
    const [, requestId] = scanMembers(line, scan.params?.start ?? -1, THREAD);
    const resolved = requestId && this.#ids.resolve(line, requestId);
    if (!resolved) return line;
    const ask = this.#open.get(resolved.id);
    if (ask) this.#close(ask);
    return resolved.line;
  }

  /** A new peer gets every open question. */
  attach(peer: Peer): void {
    for (const ask of this.#open.values()) this.#offerTo(ask, peer);
  }

  /** The peer resumed the thread: it wants to see its open questions, as the app-server would repeat them. */
  resumed(peer: Peer, threadId: string): void {
    for (const ask of this.#open.values()) {
      const has = ask.offered.has(peer) || ask.withdrawn.has(peer);
      if (ask.threadId === threadId && !has) this.#offerTo(ask, peer);
    }
  }

  /** Questions that only this peer had are asked again elsewhere. */
  leave(peer: Peer): void {
    for (const ask of this.#open.values()) {
      ask.withdrawn.delete(peer);
      if (!ask.offered.delete(peer)) continue;
      ask.left = true;
      if (ask.offered.size === 0) this.#offer(ask);
    }
  }

  /** Answers what nobody answered in time. */
  sweep(now: number): void {
    for (const ask of this.#open.values()) {
      if (ask.deadline > now) continue;
      this.#close(ask);
      this.#settle(ask, refusal(ask, "nobody answered in time"));
    }
  }

  /** The process ended and its questions with it. Returns the notifications that tell so. */
  reset(): Buffer[] {
    const lines = [...this.#open.values()].map(({ id, threadId }) =>
      notificationLine("serverRequest/resolved", { threadId, requestId: id }),
    );
    this.#open.clear();
    this.#answered = [];
    this.#bytes = 0;
    this.#ids.reset();
    return lines;
  }

  /** Nobody left who could know it: refused at once, unless somebody who had it may come back within its time. */
  #withdraw(ask: Ask, peer: Peer): void {
    ask.withdrawn.add(peer);
    ask.offered.delete(peer);
    if (ask.offered.size > 0) return;
    this.#offer(ask);
    if (ask.offered.size > 0 || ask.left) return;
    this.#close(ask);
    this.#settle(ask, refusal(ask, "no client of this session knows this kind of question"));
  }

  /**
   * To the client that owns the turn. A turn of a lane, or of somebody who left: to the lanes, of which one may know whom to ask,
   * and to a client. Nobody there = it waits for the next peer.
   */
  #offer(ask: Ask): void {
    const peers = [...this.#options.peers()].filter((p) => !p.gone && !ask.withdrawn.has(p));
    const owner = peers.find((peer) => peer === this.#options.ownerOf(ask.threadId));
    const isClients = owner?.role === "client";
    const client = isClients ? owner : peers.find(({ role }) => role === "client");
    const asked = isClients ? [] : peers.filter(({ role }) => role !== "client");
    for (const peer of client ? [...asked, client] : asked) this.#offerTo(ask, peer);
  }

  #offerTo(ask: Ask, peer: Peer): void {
    ask.offered.add(peer);
    this.#options.tell(peer, ask.line);
  }

  #close(ask: Ask): void {
    if (this.#open.delete(ask.id)) this.#bytes -= ask.line.length;
  }

  #settle({ id }: Ask, answer: Buffer): void {
    const scan = scanLine(answer);
    const settled = scan?.id && this.#ids.answer(answer, scan.id);
    if (!settled || settled.id !== id) return;
    this.#noteAnswered(id);
    this.#options.write(settled.line);
  }

  #noteAnswered(id: number): void {
    this.#answered.push(id);
    if (this.#answered.length <= MAX_ANSWERED_ASKS) return;
    const oldest = this.#answered.shift();
    if (oldest !== undefined && !this.#open.has(oldest)) this.#ids.forget(oldest);
  }
}

/** A JSON-RPC error with the code of an unknown method. */
function isNotUnderstood(line: Buffer, scan: LineScan): boolean {
  const [error] = scanMembers(line, scan.open, ERROR);
  const code = error && scanMembers(line, error.start, CODE)[0];
  return valueAt(line, code) === RPC_ERROR.methodNotFound;
}

function refusal({ id, method }: Ask, why: string): Buffer {
  const bytes = Buffer.from(String(id));
  const declined = DECLINED[method];
  if (declined) return resultLine(bytes, declined);
  return errorLine(bytes, { code: RPC_ERROR.server, message: `${method}: ${why}` });
}
