import { isDeepStrictEqual } from "node:util";
import { startInformer } from "#cluster/informer.ts";
import { networkPolicies } from "#cluster/resources.ts";
import type { Informer } from "#cluster/types.ts";
import type { Running } from "#lib/running.ts";
import { LABEL } from "#protocol/pod.ts";
import { follow, type Kind, type KindTerm } from "../kind.ts";
import type { ControllerOptions } from "../options.ts";
import { PausedError, type Reconcile } from "../reconciler.ts";
import { missingRule } from "../session/refusals.ts";
import { type NetworkPolicy, sharedPolicies } from "./policies.ts";

export type PolicyCache = Informer<NetworkPolicy> & Running;

const FIELD_MANAGER = "argus-controller";
const TROUBLE = "networkpolicy";
const PAUSE_MS = 30_000;

/** All network policies of sessions, the shared ones and those of single sessions. */
export function startPolicies(options: ControllerOptions, signal: AbortSignal): PolicyCache {
  const { kube, namespace, logger } = options;
  const labelSelector = `${LABEL.component}=session-network`;
  return startInformer(kube, networkPolicies, { namespace, labelSelector, logger }, signal);
}

/** Keeps the shared network policies of the namespace as they should be. */
export function networkKind(options: ControllerOptions, policies: PolicyCache): Kind {
  const { namespace } = options;
  return {
    name: "networkpolicy",
    caches: { policies },
    workers: 1,
    begin: async (term, signal) => {
      for (const { metadata } of sharedPolicies(options)) {
        term.queue.add(`${namespace}/${metadata.name}`);
      }
      follow(policies, signal, (key) => term.queue.add(key));
      return { reconcile: reconciling(options, policies, term) };
    },
  };
}

function reconciling(options: ControllerOptions, policies: PolicyCache, term: KindTerm): Reconcile {
  const wanted = new Map(
    sharedPolicies(options).map((each) => [`${options.namespace}/${each.metadata.name}`, each]),
  );
  return async (key) => {
    const policy = wanted.get(key);
    if (!policy || isDeepStrictEqual(policies.get(key)?.spec, policy.spec)) return { done: true };
    try {
      await term.kube.apply(networkPolicies, policy, { fieldManager: FIELD_MANAGER, force: true });
      term.troubles.clear(TROUBLE);
    } catch (error) {
      const rule = error instanceof Error && missingRule(error.message);
      if (!rule) throw error;
      term.troubles.set(TROUBLE, `NetworkPolicy ${key}: ${rule}`);
      throw new PausedError(rule, PAUSE_MS);
    }
    return { done: true };
  };
}
