import type { Readable, Writable } from "node:stream";
import type { Clock } from "#lib/clock.ts";
import type { Envelope } from "#protocol/envelope.ts";
import { EXIT } from "../exit.ts";
import { commandOf, HELP } from "./commands.ts";
import { step } from "./conversation.ts";
import { type Link, openLink } from "./link.ts";
import { DECISIONS, type Decision, type Shown, type TurnEnd } from "./shown.ts";
import { type Chat, type ChatEvent, type ChatOptions, createChat, type Effect } from "./state.ts";
import { openPlain, openTerminal, type Terminal } from "./terminal.ts";

/** Who answers the agent's questions: the person, or always the same. */
export type Answerer = "ask" | "accept" | "decline";

export interface ChatRun {
  url: string;
  token: string;
  /** `new` makes one; undefined = the gateway's choice (main). */
  session?: string | undefined;
  /** See {@link ChatOptions.thread}. */
  thread: ChatOptions["thread"];
  /** One shot: say this, end after its turn. */
  message?: string | undefined;
  approvals: Answerer;
  /** A person sits there. */
  interactive: boolean;
  input: Readable;
  output: Writable;
  /** Without a person everything but the agent's words goes here. */
  notes: Writable;
  clock: Clock;
  newId: () => string;
  /** SIGINT outside of a terminal's raw mode, SIGTERM. */
  onSignals: (interrupt: () => void, leave: () => void) => void;
}

const RETRY_MS = 1_000;
/** A script does not wait for ever for a gateway that is away. */
const GIVE_UP_MS = 120_000;

/** Nor for a session that does not become ready; an image and an install script may take minutes. */
const READY_MS = 300_000;

const EXIT_OF: Record<TurnEnd, number> = {
  completed: EXIT.ok,
  failed: EXIT.failed,
  unknown: EXIT.failed,
  interrupted: EXIT.interrupted,
};

/** Talks until the person leaves, the input ends or the one message is answered. Resolves to the exit code. */
export async function runChat(options: ChatRun): Promise<number> {
  const talk = new Talk(options);
  return talk.run();
}

class Talk {
  readonly #options: ChatRun;
  readonly #chat: Chat;
  readonly #end = new AbortController();
  readonly #terminal: Terminal;
  #link: Link | undefined;
  #exitCode: number = EXIT.ok;
  #inputEnded = false;
  #interrupted = false;
  #lost = false;
  /** Runs out while the session is not ready; undefined while it is, and with a person. */
  #patience: AbortController | undefined;

  constructor(options: ChatRun) {
    this.#options = options;
    const { newId, thread, interactive, message } = options;
    this.#chat = createChat({ newId, thread, steer: interactive });
    this.#terminal =
      message === undefined
        ? openTerminal({
            ...options,
            onLine: (line) => this.#line(line),
            onInterrupt: () => this.#interrupt(),
            onEnd: () => this.#inputEnd(),
          })
        : openPlain(options);
  }

  async run(): Promise<number> {
    const { clock, url, token, message, interactive } = this.#options;
    this.#options.onSignals(
      () => this.#interrupt(),
      () => this.#leave(EXIT.interrupted),
    );
    this.#link = openLink(
      {
        url,
        token,
        clock,
        query: () => this.#query(),
        onFrame: (frame) => this.#frame(frame),
        onClosed: ({ tooBig, text }) => this.#closed(tooBig, text),
        ...(interactive ? {} : { giveUpMs: GIVE_UP_MS }),
      },
      this.#end.signal,
    );
    if (message !== undefined) this.#take({ type: "say", text: message });
    this.#watchReady();
    try {
      await this.#link.closed;
    } finally {
      this.#end.abort();
      this.#terminal.close();
    }
    return this.#exitCode;
  }

  #query(): Record<string, string | undefined> {
    const { session, boot, seq } = this.#chat;
    const resume = boot === undefined || seq === undefined ? {} : { boot, after: String(seq) };
    return { session: session ?? this.#options.session, ...resume };
  }

  #take(event: ChatEvent): void {
    for (const effect of step(this.#chat, event)) this.#apply(effect);
    this.#watchReady();
    if (this.#inputEnded && this.#chat.outbox.settled) this.#leave(this.#exitCode);
  }

  #watchReady(): void {
    const { interactive, clock } = this.#options;
    if (interactive) return;
    if (this.#chat.phase === "ready") {
      this.#patience?.abort();
      this.#patience = undefined;
    } else if (!this.#patience) {
      this.#patience = new AbortController();
      const signal = AbortSignal.any([this.#patience.signal, this.#end.signal]);
      clock.sleep(READY_MS, signal).then(
        () => this.#giveUp(),
        () => undefined,
      );
    }
  }

  #giveUp(): void {
    const why = this.#chat.lastStatus || "it says nothing";
    const text = `the session was not ready within ${READY_MS / 60_000} minutes (${why})`;
    this.#show("error", text);
    this.#leave(EXIT.unavailable);
  }

  #apply(effect: Effect): void {
    switch (effect.type) {
      case "send":
        return this.#link?.send(effect.message);
      case "show":
        return this.#terminal.show(effect.shown);
      case "question":
        return this.#question();
      case "retryLater":
        return this.#retryLater();
      case "settled":
        return this.#settled(effect.end);
      case "leave":
        return this.#leave(this.#options.interactive ? EXIT.ok : EXIT.interrupted);
    }
  }

  #show(kind: Shown["kind"], text: string): void {
    this.#terminal.show({ kind, text });
  }

  #question(): void {
    const question = this.#chat.approvals.first;
    const { approvals, interactive } = this.#options;
    if (!question || (approvals === "ask" && interactive)) return this.#terminal.ask(question);
    const decision: Decision = approvals === "accept" ? "accept" : "decline";
    this.#terminal.ask(question);
    this.#show(
      "note",
      `answered: ${decision}${approvals === "ask" ? " (no terminal to ask)" : ""}`,
    );
    this.#take({ type: "answer", decision });
  }

  #retryLater(): void {
    const { clock } = this.#options;
    clock.sleep(RETRY_MS, this.#end.signal).then(
      () => this.#take({ type: "retry" }),
      () => undefined,
    );
  }

  #settled(end: TurnEnd): void {
    this.#interrupted = false;
    this.#exitCode ||= EXIT_OF[end];
    if (this.#options.message !== undefined) this.#leave(this.#exitCode);
    else this.#terminal.prompt();
  }

  #closed(tooBig: boolean, text: string): void {
    // Said once for an outage, however often it is tried.
    if (!this.#lost) this.#show("status", `connection lost (${text}); trying again`);
    this.#lost = true;
    this.#take({ type: "closed", tooBig });
  }

  #frame(message: Envelope): void {
    if (this.#lost) this.#show("status", "connected again");
    this.#lost = false;
    this.#take({ type: "frame", message });
  }

  #line(line: string): void {
    const text = line.trim();
    if (!text) return this.#terminal.prompt();
    if (this.#options.interactive && this.#chat.approvals.first) return this.#reply(text);
    const command = commandOf(text);
    // The echo has commands of its own.
    if (!command || (command === "unknown" && this.#chat.echo))
      this.#take({ type: "say", text: line });
    else if (command === "quit") this.#leave(EXIT.ok);
    else if (command === "help") HELP.forEach((row) => this.#show("status", row));
    else if (command === "unknown") this.#show("status", `${text}: /help lists the commands`);
    else this.#take({ type: command });
    this.#terminal.prompt();
  }

  #reply(text: string): void {
    const letter = text.toLowerCase().charAt(0);
    const decision = letter in DECISIONS ? DECISIONS[letter as keyof typeof DECISIONS] : undefined;
    if (decision) this.#take({ type: "answer", decision });
    else
      this.#show(
        "status",
        "the agent waits: y runs it, n does not, a runs it and the like unasked",
      );
    this.#terminal.prompt();
  }

  #interrupt(): void {
    if (this.#interrupted) return this.#leave(EXIT.interrupted);
    this.#interrupted = true;
    this.#take({ type: "interrupt" });
  }

  #inputEnd(): void {
    this.#inputEnded = true;
    // A person who says goodbye is not told how a turn of long ago ended.
    if (this.#options.interactive) this.#leave(EXIT.ok);
    else if (this.#chat.outbox.settled) this.#leave(this.#exitCode);
  }

  #leave(exitCode: number): void {
    if (this.#end.signal.aborted) return;
    this.#exitCode = exitCode;
    this.#end.abort();
  }
}
