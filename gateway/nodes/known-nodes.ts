import { type Call, failure, MAX_OPEN_CALLS, type Outcome } from "./calls.ts";
import type { NodeLink } from "./link.ts";
import { Node } from "./node.ts";

/** After a start, or a cut, a call waits this long for its node. */
const RETURN_MS = 20_000;

/** The nodes that are there, or of which something is still open. */
export class KnownNodes {
  readonly #nodes = new Map<string, Node>();
  readonly #startedAt = Date.now();
  readonly #isDevice: (id: string) => boolean;

  /** Devices are kept while they are away. */
  constructor(isDevice: (id: string) => boolean) {
    this.#isDevice = isDevice;
  }

  get all(): Iterable<Node> {
    return this.#nodes.values();
  }

  /** Made when there is none. */
  node(id: string): Node {
    const node = this.#nodes.get(id) ?? new Node(id);
    this.#nodes.set(id, node);
    return node;
  }

  find(id: string): Node | undefined {
    return this.#nodes.get(id);
  }

  linkOf(id: string): NodeLink | undefined {
    return this.#nodes.get(id)?.link;
  }

  /** The node whose present connection it is. */
  of(link: NodeLink): Node | undefined {
    const node = this.#nodes.get(link.nodeId);
    return node?.link === link ? node : undefined;
  }

  /** The run of its node-host; undefined while it is away, or has no room for another call. */
  ready(id: string): { boot: string | null } | undefined {
    const node = this.#nodes.get(id);
    if (!node?.link || node.calls.size >= MAX_OPEN_CALLS) return undefined;
    return { boot: node.link.boot ?? null };
  }

  /** Never rejects. */
  async send(id: string, call: Call, signal?: AbortSignal): Promise<Outcome> {
    const node = this.node(id);
    if (node.link && !node.link.runs(call.command))
      return failure("UNSUPPORTED", `${id} does not know ${call.command}`);
    const outcome = node.calls.start(call, node.link);
    const cancel = () => node.calls.cancel(call.id, node.link);
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await outcome;
    } finally {
      signal?.removeEventListener("abort", cancel);
      this.forgetIdle(node);
    }
  }

  cancel(id: string, callId: string): void {
    const node = this.#nodes.get(id);
    node?.calls.cancel(callId, node.link);
  }

  /** Who was there a moment ago, as far as this process can know, is waited for. */
  returnMs(id: string): number {
    const leftAt = this.#nodes.get(id)?.leftAt ?? 0;
    const now = Date.now();
    return now - Math.max(this.#startedAt, leftAt) < 60_000 ? RETURN_MS : 0;
  }

  forgetIdle(node: Node): void {
    if (node.isIdle && !this.#isDevice(node.id)) this.#nodes.delete(node.id);
  }
}
