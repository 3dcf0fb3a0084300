import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { applyCases } from "./kubernetes/apply.ts";
import { clientCases } from "./kubernetes/client-node.ts";
import { definitionCases } from "./kubernetes/definitions.ts";
import { deletionCases } from "./kubernetes/deletion.ts";
import { edgeCases } from "./kubernetes/edge.ts";
import { kubectlCases } from "./kubernetes/kubectl.ts";
import { readCases } from "./kubernetes/read.ts";
import { tokenCases } from "./kubernetes/tokens.ts";
import { type Peer, Tools } from "./kubernetes/tools.ts";
import { watchCases } from "./kubernetes/watch.ts";
import { writeCases } from "./kubernetes/write.ts";

/** A server that the suite runs against, as the table of docs/kubernetes-differences.md names it. */
export type Server = "local" | "real";

export interface KubernetesContract {
  server: Server;
  /** A running server with an admin's rights. `close` ends what was started for it. */
  make: () => Promise<Peer & { close(): Promise<void> }>;
}

export type Case = (name: string, run: (tools: Tools) => Promise<void>) => void;

/** How long a case that is known to fail may take to do so: some wait for what never comes. */
const DIFFERENCE_MS = 5_000;

const CASES = [
  edgeCases,
  readCases,
  writeCases,
  applyCases,
  definitionCases,
  deletionCases,
  watchCases,
  tokenCases,
  kubectlCases,
  clientCases,
];

/**
 * What Argus and kubectl rely on, whichever server answers. A case that the table lists for this server is expected to
 * fail: one that holds after all fails the suite, so the table stays true.
 */
export function kubernetesContract({ server, make }: KubernetesContract): void {
  describe(`the ${server} API server`, () => {
    let peer: Awaited<ReturnType<typeof make>>;
    let tools: Tools;
    const differences = differencesOf(server);
    const known = new Set<string>();
    beforeAll(async () => {
      peer = await make();
      tools = new Tools(peer);
      await tools.installDefinitions();
    });
    afterAll(async () => {
      await tools?.close();
      await peer?.close();
    });
    const add: Case = (title, run) => {
      known.add(title);
      if (!differences.has(title)) test(title, () => run(tools));
      else test(`differs: ${title}`, () => failsSoon(run, peer));
    };
    for (const cases of CASES) cases(add);
    test("every listed difference names a case that exists and its reason", () => {
      const wrong = [...differences].filter(([title, reason]) => !known.has(title) || !reason);
      expect(wrong).toEqual([]);
    });
  });
}

/** Passes when the case fails, or has not passed in time. */
async function failsSoon(run: (tools: Tools) => Promise<void>, peer: Peer): Promise<void> {
  const tools = new Tools(peer);
  const passed = run(tools).then(
    () => true,
    () => false,
  );
  const late = new AbortController();
  const outcome = await Promise.race([
    passed,
    delay(DIFFERENCE_MS, false, { signal: late.signal }),
  ]);
  late.abort();
  // Its requests fail from here on, which ends a case that still waits.
  await tools.close();
  expect(outcome, "the case holds: take its row out of docs/kubernetes-differences.md").toBe(false);
}

/** Title → reason: the rows `| case | server | reason |` of the page. */
function differencesOf(server: Server): Map<string, string> {
  const page = join(import.meta.dirname, "..", "..", "docs", "kubernetes-differences.md");
  const rows = [...readFileSync(page, "utf8").matchAll(/^\| (.+) \| (local|real) \| (.+) \|$/gm)];
  return new Map(
    rows.flatMap(([, title = "", name, reason = ""]) => (name === server ? [[title, reason]] : [])),
  );
}
