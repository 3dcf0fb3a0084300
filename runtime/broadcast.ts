import { BRIDGE_NOTIFICATION } from "#protocol/bridge.ts";
import type { Peer } from "./peer.ts";
import { Ring } from "./ring.ts";
import { notificationLine } from "./rpc.ts";

/** A line above this gets a buffer of its own, so that a short one in the ring does not keep it alive. */
const SHARED_LINE_BYTES = 64 * 1024;

export interface AttachPoint {
  /** Number of the last notification that the peer has; absent = it wants none of the past. */
  after?: number;
  /** The boot that `after` counts in. */
  boot?: string;
}

/**
 * Numbers notifications and gives each to all peers: the number is spliced in as the first key once, and all peers
 * share one buffer per batch. The ring serves those who come back.
 */
export class Broadcast {
  readonly #boot: string;
  readonly #ring: Ring;
  readonly #peers = new Set<Peer>();
  #batch: { line: Buffer; open: number }[] = [];
  #batchBytes = 0;

  constructor(boot: string, ring: Ring) {
    this.#boot = boot;
    this.#ring = ring;
  }

  get seq(): number {
    return this.#ring.seq + this.#batch.length;
  }

  get peers(): ReadonlySet<Peer> {
    return this.#peers;
  }

  /** Takes the notification whose object opens at `open`; it leaves with the next flush. */
  add(line: Buffer, open: number): void {
    if (line.length > SHARED_LINE_BYTES) this.flush();
    this.#batch.push({ line, open });
    this.#batchBytes += line.length;
    if (this.#batchBytes > SHARED_LINE_BYTES) this.flush();
  }

  /** A notification of the bridge's own, at once. */
  notify(method: string, params: unknown): void {
    this.add(notificationLine(method, params), 0);
    this.flush();
  }

  /** To one peer, in order with the notifications so far. */
  tell(peer: Peer, ...pieces: Buffer[]): void {
    this.flush();
    for (const piece of pieces) peer.send(piece);
  }

  flush(): void {
    if (this.#batch.length === 0) return;
    const numbered = this.#number();
    for (const peer of this.#peers) peer.send(numbered);
  }

  /** From here on the peer gets everything; first what it missed, so that nothing is doubled or lost at the seam. */
  attach(peer: Peer, { after, boot }: AttachPoint): void {
    this.flush();
    if (after !== undefined) this.#replay(peer, { after, boot: boot ?? this.#boot });
    this.#peers.add(peer);
  }

  detach(peer: Peer): void {
    this.#peers.delete(peer);
  }

  #replay(peer: Peer, { after, boot }: { after: number; boot: string }): void {
    const same = boot === this.#boot;
    // Of another boot nothing is left, and how far it counted nobody knows.
    if (!same) peer.send(gapLine({ from: after + 1, to: null, boot }));
    const { gap, lines } = this.#ring.replay(same ? after : 0);
    if (gap) peer.send(gapLine({ ...gap, boot: this.#boot }));
    // As one piece: what a peer asked for does not cut it off.
    if (lines.length > 0) peer.send(Buffer.concat(lines));
  }

  /** One buffer with the batch's lines, each with its number; the ring copies them. */
  #number(): Buffer {
    const first = this.#ring.seq + 1;
    const keys = this.#batch.map((_, index) => `"argusSeq":${first + index},`);
    const keyBytes = keys.reduce((sum, key) => sum + key.length, 0);
    const numbered = Buffer.allocUnsafe(this.#batchBytes + keyBytes);
    let at = 0;
    this.#batch.forEach(({ line, open }, index) => {
      const start = at;
      at += line.copy(numbered, at, 0, open + 1);
      at += numbered.write(keys[index] ?? "", at, "latin1");
      at += line.copy(numbered, at, open + 1);
      this.#ring.push(numbered.subarray(start, at));
    });
    this.#batch = [];
    this.#batchBytes = 0;
    return numbered;
  }
}

/** Unnumbered: it speaks about one peer's past. `to` null = unknown. */
function gapLine(params: { from: number; to: number | null; boot: string }): Buffer {
  return notificationLine(BRIDGE_NOTIFICATION.gap, params);
}
