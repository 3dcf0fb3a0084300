import { Counter, Histogram, type Registry } from "prom-client";
import type { Skip } from "./plan.ts";
import type { PostResult } from "./post.ts";

/** Counts what became of slots. */
export interface CronMetrics {
  /** @param lateSeconds since the slot was due. */
  posted(result: PostResult, lateSeconds: number): void;
  skipped(skips: readonly Skip[]): void;
}

const LATE_BUCKETS_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600];

export function cronMetrics(registry: Registry): CronMetrics {
  const registers = [registry];
  const posts = new Counter({
    name: "argus_cron_posts_total",
    help: "Slots that were posted to the gateway, by its answer",
    labelNames: ["result"],
    registers,
  });
  const late = new Histogram({
    name: "argus_cron_slot_lateness_seconds",
    help: "From a slot's time until the gateway had taken it",
    buckets: LATE_BUCKETS_SECONDS,
    registers,
  });
  const skips = new Counter({
    name: "argus_cron_slots_skipped_total",
    help: "Slots that were decided not to run, by reason",
    labelNames: ["reason"],
    registers,
  });
  return {
    posted(result, lateSeconds) {
      const isFailed = result.state === "failed";
      posts.inc({ result: isFailed ? result.problem.reason : result.state });
      if (!isFailed) late.observe(Math.max(0, lateSeconds));
    },
    skipped(list) {
      for (const { reason, count } of list) skips.inc({ reason }, count);
    },
  };
}
