import { CLOSE } from "#protocol/client.ts";
import { NODE_REPLACED_CODE } from "#protocol/node.ts";
import { NodeCalls } from "./calls.ts";
import type { NodeLink } from "./link.ts";
import { NodeStreams } from "./streams.ts";

/** One node: its present connection, and what outlives it. */
export class Node {
  readonly id: string;
  readonly calls = new NodeCalls();
  readonly streams = new NodeStreams();
  link: NodeLink | undefined;
  /** ms since the epoch, when a connection ended. */
  leftAt: number | undefined;

  constructor(id: string) {
    this.id = id;
  }

  /** The newest connection is the node. Of two node-hosts with one name the older one is told not to come back soon. */
  connected(link: NodeLink): void {
    const { link: older } = this;
    if (older?.isNewerThan(link)) return link.close(CLOSE.normal, "superseded");
    if (older) {
      this.disconnected(older);
      if (older.isSameRunAs(link)) older.close(CLOSE.normal, "superseded");
      else older.close(NODE_REPLACED_CODE, "replaced");
    }
    this.link = link;
    link.send("node.connected", { nodeId: link.nodeId, extensions: link.extensions });
    this.calls.connected(link);
    this.streams.connected(link);
  }

  disconnected(link: NodeLink): void {
    if (this.link !== link) return;
    this.link = undefined;
    this.leftAt = Date.now();
    this.calls.disconnected(link);
    this.streams.disconnected();
  }

  /** Nothing of it would be missed. */
  get isIdle(): boolean {
    return this.link === undefined && this.calls.size === 0 && this.streams.size === 0;
  }
}
