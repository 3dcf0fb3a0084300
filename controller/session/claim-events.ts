import type { PersistentVolumeClaim } from "#cluster/core-types.ts";
import { keyOf } from "#cluster/objects.ts";
import { events } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { type Clock, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { remember } from "#lib/remember.ts";

export interface ClaimEventsOptions {
  kube: KubeClient;
  logger: Logger;
  clock?: Clock;
  /** Called when something else is said about a claim than before. */
  onChange: (claim: PersistentVolumeClaim) => void;
}

type ClaimEvent = KubeObject & {
  reason?: string;
  message?: string;
  lastTimestamp?: string;
  eventTime?: string;
};

interface Reading {
  atMs: number;
  words?: string | undefined;
}

/** What binder and provisioners report when they cannot serve a claim. */
const REASONS = ["ProvisioningFailed", "FailedBinding"];
const READ_INTERVAL_MS = 30_000;
/** Events of one claim that are looked at. */
const MAX_EVENTS = 50;
const MAX_WORDS = 512;
/** Claims that are remembered; the longest unread one is forgotten. */
const MAX_CLAIMS = 1000;
const MAX_READS = 8;

/**
 * Why a claim is not bound, in the words of who should serve it. Reading happens aside, so that nothing waits for it; `words`
 * answers from memory and starts a reading when one is due.
 */
export class ClaimEvents {
  readonly #options: ClaimEventsOptions;
  readonly #clock: Clock;
  readonly #readings = new Map<string, Reading>();
  #active = 0;

  constructor(options: ClaimEventsOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  words(claim: PersistentVolumeClaim): string | undefined {
    const reading = this.#readings.get(claim.metadata.uid ?? "");
    const age = this.#clock.monotonicMs() - (reading?.atMs ?? Number.NEGATIVE_INFINITY);
    if (age >= READ_INTERVAL_MS * 0.9 && this.#active < MAX_READS) void this.#read(claim, reading);
    return reading?.words;
  }

  async #read(claim: PersistentVolumeClaim, old: Reading | undefined): Promise<void> {
    const { uid = "", namespace = "" } = claim.metadata;
    remember(this.#readings, uid, { ...old, atMs: this.#clock.monotonicMs() }, MAX_CLAIMS);
    this.#active += 1;
    try {
      const fieldSelector = `involvedObject.uid=${uid}`;
      const selection = { namespace, fieldSelector, limit: MAX_EVENTS };
      const { items } = await this.#options.kube.list<ClaimEvent>(events, selection);
      const words = newest(items)?.message?.slice(0, MAX_WORDS);
      remember(this.#readings, uid, { atMs: this.#clock.monotonicMs(), words }, MAX_CLAIMS);
      if (words !== old?.words) this.#options.onChange(claim);
    } catch (error) {
      const fields = { claim: keyOf(claim), error: errorMessage(error) };
      this.#options.logger.debug(fields, "events of a claim not read");
    } finally {
      this.#active -= 1;
    }
  }
}

function newest(all: ClaimEvent[]): ClaimEvent | undefined {
  const timeOf = ({ lastTimestamp, eventTime }: ClaimEvent) => lastTimestamp ?? eventTime ?? "";
  return all
    .filter(({ reason = "" }) => REASONS.includes(reason))
    .reduce<ClaimEvent | undefined>(
      (last, each) => (last && timeOf(last) > timeOf(each) ? last : each),
      undefined,
    );
}
