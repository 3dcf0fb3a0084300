import { eventually } from "./eventually.ts";
import { NodeHostProcess } from "./node-host.ts";
import { WsClient } from "./ws-client.ts";

interface Gateway {
  url: string;
  token: string;
}

export const clientOf = ({ url, token }: Gateway, session: string): Promise<WsClient> =>
  WsClient.connect({ url, token, query: { session } });

interface PairedDevice {
  nodeId: string;
  session: string;
  /** How the device reaches the gateway, where that differs. */
  url?: string;
  env?: Record<string, string>;
}

/** Pairs a device by its real program and an owner's word; resolves when its token is on the device's disk. */
export async function pair(
  gateway: Gateway,
  host: NodeHostProcess,
  { nodeId, session, url, env }: PairedDevice,
): Promise<void> {
  const child = host.start(["pair", url ?? gateway.url, "--node-id", nodeId], env);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  const code = await eventually("the code", () => /code: (\w{8})/.exec(host.stdout)?.[1]);
  const client = await clientOf(gateway, session);
  await client.request("argus/node/approve", { code });
  await client.close();
  if ((await ended) !== 0) throw new Error(`pairing failed: ${host.stderr}`);
}

/** A device of the session that is connected. */
export async function joined(
  gateway: Gateway,
  device: { nodeId: string; session: string; policy?: object; program?: string[] },
): Promise<NodeHostProcess> {
  const { nodeId, session, policy, program } = device;
  const host = await NodeHostProcess.make(policy ?? { default: "allow" }, program);
  await pair(gateway, host, { nodeId, session });
  host.start(["run"]);
  await connected(gateway, nodeId, session);
  return host;
}

export async function connected(gateway: Gateway, nodeId: string, session: string): Promise<void> {
  const client = await clientOf(gateway, session);
  await eventually(`${nodeId} is there`, async () => {
    const { nodes } = await client.request("argus/node/list");
    const rows = nodes as { nodeId: string; connected: boolean }[];
    return rows.some((row) => row.nodeId === nodeId && row.connected);
  });
  await client.close();
}
