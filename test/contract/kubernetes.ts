import { afterAll, beforeAll, describe, test } from "vitest";
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

/** A known difference of one server: the cases that do not hold there, and why. */
export interface Difference {
  reason: string;
  tests: string[];
}

export interface KubernetesContract {
  name: string;
  /** A running server with an admin's rights. `close` ends what was started for it. */
  make: () => Promise<Peer & { close(): Promise<void> }>;
  skip: Difference[];
}

export type Case = (name: string, run: (tools: Tools) => Promise<void>) => void;

/** What Argus and kubectl rely on, whichever server answers. */
export function kubernetesContract({ name, make, skip }: KubernetesContract): void {
  describe(name, () => {
    let peer: Awaited<ReturnType<typeof make>>;
    let tools: Tools;
    const skipped = new Map(
      skip.flatMap(({ reason, tests }) => tests.map((each) => [each, reason])),
    );
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
      const reason = skipped.get(title);
      if (reason) test.skip(`${title} (${reason})`, () => {});
      else test(title, () => run(tools));
    };
    for (const cases of [
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
    ]) {
      cases(add);
    }
    test("every listed difference names a case that exists", () => {
      const unknown = [...skipped.keys()].filter((title) => !known.has(title));
      if (unknown.length > 0) throw new Error(`no such case: ${unknown.join(", ")}`);
    });
  });
}
