import { z } from "zod";
import { monotonicMs } from "#lib/clock.ts";
import { type LineScan, valueAt } from "#lib/scan.ts";
import type { Busy } from "./busy.ts";
import type { Inputs } from "./inputs.ts";
import type { Peer } from "./peer.ts";
import type { Threads } from "./threads.ts";
import type { ToolServers } from "./tool-servers.ts";

const Turn = z.object({ threadId: z.string(), turn: z.looseObject({ id: z.string() }) });
const Status = z.object({ threadId: z.string(), status: z.object({ type: z.string() }) });
const Thread = z.object({ threadId: z.string() });
const ToolServer = z.object({ threadId: z.string(), name: z.string(), status: z.string() });
const Item = z.object({
  turnId: z.string(),
  item: z.looseObject({ type: z.string(), clientId: z.string().nullish() }),
});

export interface ObserverOptions {
  busy: Busy<Peer>;
  inputs: Inputs;
  threads: Threads;
  toolServers: ToolServers;
  onTurnEnd: () => void;
}

/** Reads the few notifications that change what the bridge knows; all others pass unread. */
export class Observer {
  readonly #readers: Record<string, (params: unknown) => void>;

  constructor({ busy, inputs, threads, toolServers, onTurnEnd }: ObserverOptions) {
    const gone = reader(Thread, ({ threadId }) => {
      busy.closed(threadId);
      threads.unloaded(threadId);
    });
    const over = reader(Thread, ({ threadId }) => {
      busy.closed(threadId);
      threads.removed(threadId);
    });
    this.#readers = {
      "turn/started": reader(Turn, ({ threadId, turn }) => busy.turnStarted(threadId, turn.id)),
      "turn/completed": reader(Turn, ({ threadId, turn }) => {
        busy.turnCompleted(threadId, turn.id);
        inputs.turnCompleted({ ...turn, id: turn.id });
        onTurnEnd();
      }),
      "thread/status/changed": reader(Status, ({ threadId, status }) => {
        busy.statusChanged(threadId, status.type, monotonicMs());
        if (status.type === "notLoaded") threads.unloaded(threadId);
      }),
      "item/started": reader(Item, ({ turnId, item }) => inputs.itemStarted(turnId, item)),
      "mcpServer/startupStatus/updated": reader(ToolServer, ({ threadId, name, status }) => {
        toolServers.see(threadId, name, status);
      }),
      "thread/closed": gone,
      "thread/archived": over,
      "thread/deleted": over,
    };
  }

  see(method: string, line: Buffer, scan: LineScan): void {
    const read = this.#readers[method];
    if (read) read(valueAt(line, scan.params));
  }
}

/** Params of another shape than we know change nothing. */
function reader<T>(schema: z.ZodType<T>, act: (params: T) => void): (params: unknown) => void {
  return (params) => {
    const parsed = schema.safeParse(params);
    if (parsed.success) act(parsed.data);
  };
}
