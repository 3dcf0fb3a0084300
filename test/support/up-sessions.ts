import { ownWords } from "#protocol/prompt-text.ts";
import type { ArgusUp } from "./argus-up.ts";
import { eventually } from "./eventually.ts";

export interface InputLists {
  inputs: { id: string; key: string; state: string }[];
  ended: { id: string; key: string; state: string; reason: string }[];
  threadId: string | null;
  waitsFor: string;
}

export const textOf = (key: string) => `the text of ${key}`;

/** What people and programs do with the sessions of an `argus up`, each time as a stranger without a connection of its own. */
export class UpSessions {
  readonly #up: ArgusUp;

  constructor(up: ArgusUp) {
    this.#up = up;
  }

  /** An echo without heartbeats; `more` stands beneath `spec`. */
  apply(name: string, more = ""): Promise<string> {
    const runtime = more.includes("runtime:") ? "" : "runtime: { command: [argus, echo] }\n";
    return this.#up.kubectl(
      ["apply", "-f", "-"],
      `
apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: ${name} }
spec:
  heartbeat: { intervalSeconds: 0 }
${(runtime + more).replace(/^(?=.)/gm, "  ")}`,
    );
  }

  async call(session: string, method: string, params: object = {}) {
    const answer = await fetch(`${this.#up.url}/call`, {
      method: "POST",
      headers: { authorization: `Bearer ${this.#up.token}`, "content-type": "application/json" },
      body: JSON.stringify({ session, method: `argus/${method}`, params }),
    });
    const { result, detail } = (await answer.json()) as { result?: object; detail?: string };
    if (!result) throw new Error(`${method}: ${answer.status} ${detail}`);
    return result as Record<string, unknown>;
  }

  /** Until it is accepted: a repeat is the same message. */
  send(session: string, key: string): Promise<Record<string, unknown>> {
    return eventually(`${key} is accepted`, () =>
      this.call(session, "input/enqueue", { text: textOf(key), key }),
    );
  }

  async lists(session: string): Promise<InputLists> {
    return (await this.call(session, "input/list")) as unknown as InputLists;
  }

  done(session: string, key: string): Promise<InputLists["ended"][number]> {
    return eventually(`${key} ended`, async () =>
      (await this.lists(session)).ended.find((each) => each.key === key),
    );
  }

  /** Texts of the user's messages in the session's main thread. */
  async said(session: string): Promise<string[]> {
    const { threadId } = await this.lists(session);
    const client = await this.#up.connect({ session });
    await client.initialize();
    const { thread } = await client.request("thread/read", { threadId, includeTurns: true });
    await client.close();
    const { turns } = thread as {
      turns: { items: { type: string; content?: { text: string }[] }[] }[];
    };
    return turns
      .flatMap(({ items }) => items.filter(({ type }) => type === "userMessage"))
      .map(({ content }) => ownWords(content?.[0]?.text ?? ""));
  }

  killed(program: string): void {
    for (const { pid } of this.#up.find(`argus.mjs ${program}`)) process.kill(pid, "SIGKILL");
  }

  async uid(session: string): Promise<string> {
    const { code, stdout } = await this.#up.tryKubectl([
      "get",
      "argussession",
      session,
      "-o",
      "jsonpath={.metadata.uid}",
    ]);
    return code === 0 ? stdout : "";
  }
}
