import { createInterface } from "node:readline/promises";
import { z } from "zod";
import { present } from "#cluster/objects.ts";
import { argusSessions, pods } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { API_VERSION, type ArgusSession } from "#crds/kinds.ts";
import { systemClock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import { LABEL } from "#protocol/pod.ts";
import { SessionName } from "#protocol/session-methods.ts";
import { findGateway } from "../client.ts";
import { withCluster } from "../cluster-access.ts";
import type { Environment } from "../config.ts";
import { EXIT } from "../exit.ts";
import { say } from "../say.ts";
import { age, table } from "../table.ts";
import { ECHO_COMMAND, NAMESPACE } from "../up/bootstrap.ts";
import { listSessions } from "./gateway-calls.ts";
import { callSession } from "./session-call.ts";

export interface SessionsCommand {
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

export async function list(command: SessionsCommand & { json?: boolean }): Promise<number> {
  const rows = await listSessions(findGateway(command));
  if (command.json) {
    process.stdout.write(`${JSON.stringify(rows, undefined, 2)}\n`);
    return EXIT.ok;
  }
  const now = new Date();
  const cells = rows.map((row) => [
    row.name,
    row.ready ? "True" : "False",
    row.reason || row.status,
    age(row.createdAt, now),
    row.title ?? "",
    row.ready ? "" : row.message,
  ]);
  process.stdout.write(
    cells.length > 0
      ? table(["NAME", "READY", "REASON", "AGE", "TITLE", "MESSAGE"], cells)
      : "no sessions yet: `./argus chat` makes one\n",
  );
  return EXIT.ok;
}

export async function create(
  command: SessionsCommand & { name?: string; title?: string; echo?: boolean },
): Promise<number> {
  const { name, title } = command;
  if (!command.echo) {
    const params = { ...(name ? { name } : {}), ...(title ? { title } : {}) };
    const call = { method: "argus/session/create", params, result: Created };
    const { sessionId, created } = await callSession(findGateway(command), call);
    const words = created ? "made" : "was there already";
    return say(`session ${sessionId} ${words}. Talk to it: ./argus chat ${sessionId}`);
  }
  const { data: given, error } = SessionName.safeParse(name);
  if (error)
    throw new ArgusError("InvalidInput", `${name ?? "(no name)"}: ${error.issues[0]?.message}`);
  const object: KubeObject & { spec: unknown } = {
    apiVersion: API_VERSION,
    kind: "ArgusSession",
    metadata: { name: given, namespace: NAMESPACE },
    spec: { runtime: { command: ECHO_COMMAND } },
  };
  await withCluster(command, (kube) => kube.create(argusSessions, object));
  return say(`session ${given} made. Talk to it: ./argus chat ${given}`);
}
const Created = z.object({ sessionId: z.string(), created: z.boolean() });

/** Asks what would be lost, then deletes exactly the session that was confirmed. */
export async function remove(
  command: SessionsCommand & { name: string; yes?: boolean },
): Promise<number> {
  const gateway = findGateway(command);
  const call = { method: "argus/session/delete", result: Deleted };
  const params = { session: command.name };
  const { message, confirm } = await callSession(gateway, { ...call, params });
  if (!command.yes && !(await confirmed(message))) {
    return say("nothing was deleted", EXIT.failed);
  }
  await callSession(gateway, { ...call, params: { ...params, confirm } });
  return say(`session ${command.name} is being deleted`);
}
const Deleted = z.object({ message: z.string(), confirm: z.string() });

/** Asks the controller for a new pod and waits until the old one is on its way out. */
export async function restart(command: SessionsCommand & { name: string }): Promise<number> {
  const { name } = command;
  return await withCluster(command, async (kube) => {
    const { metadata } = existing(name, await kube.get<ArgusSession>(refOf(name)));
    const former = await livePods(kube, metadata.uid);
    const annotations = { [LABEL.restartAt]: new Date().toISOString() };
    const asked: KubeObject = {
      apiVersion: API_VERSION,
      kind: "ArgusSession",
      metadata: { name, namespace: NAMESPACE, ...present({ uid: metadata.uid }), annotations },
    };
    await kube.apply(argusSessions, asked, { fieldManager: "argus-cli", force: true });
    for (let tries = 0; tries < RESTART_LOOKS; tries += 1) {
      const now = await livePods(kube, metadata.uid);
      if (!former.some((uid) => now.includes(uid))) return say(`session ${name} is restarting`);
      await systemClock.sleep(RESTART_LOOK_MS);
    }
    return say(`session ${name} will restart; the controller has not acted yet: is it running?`);
  });
}

const RESTART_LOOKS = 50;
const RESTART_LOOK_MS = 200;

/** UIDs of the session's pods that are not on their way out. */
async function livePods(kube: KubeClient, sessionUid = ""): Promise<string[]> {
  const labelSelector = `${LABEL.sessionUid}=${sessionUid}`;
  const { items } = await kube.list<KubeObject>(pods, { namespace: NAMESPACE, labelSelector });
  const live = items.filter(({ metadata }) => !metadata.deletionTimestamp);
  return live.map(({ metadata }) => metadata.uid ?? "");
}

export async function runtime(
  command: SessionsCommand & { name: string; runtime: string },
): Promise<number> {
  const { name, runtime: wanted } = command;
  if (wanted !== "codex" && wanted !== "echo") {
    throw new ArgusError("InvalidInput", `${wanted}: give codex or echo`);
  }
  await withCluster(command, async (kube) => {
    const session = existing(name, await kube.get<ArgusSession>(refOf(name)));
    const { command: _, ...others } = session.spec.runtime ?? {};
    const value = wanted === "echo" ? { ...others, command: ECHO_COMMAND } : others;
    await kube.jsonPatch(refOf(name), [{ op: "add", path: "/spec/runtime", value }]);
  });
  return say(`session ${name} runs ${wanted} from its next start on, which follows at once`);
}

const refOf = (name: string) => ({ resource: argusSessions, namespace: NAMESPACE, name });

function existing(name: string, session: ArgusSession | undefined): ArgusSession {
  if (session) return session;
  throw new ArgusError("NotFound", `no session ${name}: \`argus sessions\` lists them`);
}

async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new ArgusError("InvalidInput", `${question} There is no terminal to ask: give --yes`);
  }
  const lines = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await lines.question(`${question} [y/N] `);
  lines.close();
  return /^y(es)?$/i.test(answer.trim());
}
