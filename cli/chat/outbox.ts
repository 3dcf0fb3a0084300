import type { TurnEnd } from "./shown.ts";

/** A message of this client; its input id stays the same over every repeat, so it starts at most one turn. */
export interface Message {
  inputId: string;
  text: string;
  /** Times that the server failed to take it. */
  failures: number;
}

export interface Turn {
  id: string;
  /** Started by the message in flight. */
  own: boolean;
}

const MAX_WAITING = 100;
const MAX_REMEMBERED = 256;

/** This client's messages in order: at most one is under way, the others wait for its turn's end. */
export class Outbox {
  readonly #waiting: Message[] = [];
  readonly #inputIds = new Set<string>();
  /** Turns that ended, so that a late answer to turn/start is understood. */
  readonly #ended = new Map<string, TurnEnd>();
  underWay: Message | undefined;
  turn: Turn | undefined;

  /** False when too many messages wait. */
  add(message: Message): boolean {
    if (this.#waiting.length >= MAX_WAITING) return false;
    this.#waiting.push(message);
    this.remember(message.inputId);
    return true;
  }

  remember(inputId: string): void {
    if (this.#inputIds.size >= MAX_REMEMBERED) this.#inputIds.clear();
    this.#inputIds.add(inputId);
  }

  isOwn(inputId: string): boolean {
    return this.#inputIds.has(inputId);
  }

  /** Nothing of ours waits or is under way. */
  get settled(): boolean {
    return !this.underWay && this.#waiting.length === 0;
  }

  /** The next message to send, now under way; undefined while one is, or while any turn runs. */
  take(): Message | undefined {
    if (this.underWay || this.turn) return undefined;
    this.underWay = this.#waiting.shift();
    return this.underWay;
  }

  /** The message under way goes back to the front of the line. */
  putBack(): void {
    if (this.underWay) this.#waiting.unshift(this.underWay);
    this.underWay = undefined;
  }

  turnEnded(id: string, end: TurnEnd): void {
    if (this.#ended.size >= MAX_REMEMBERED) this.#ended.clear();
    this.#ended.set(id, end);
    if (this.turn?.id === id) this.turn = undefined;
  }

  endOf(turnId: string): TurnEnd | undefined {
    return this.#ended.get(turnId);
  }

  /** Nothing is known about running turns any more; the message under way is still ours. */
  forgetTurn(): void {
    this.turn = undefined;
  }
}
