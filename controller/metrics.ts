import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { WorkQueue } from "#lib/workqueue.ts";

export type ReconcileResult = "success" | "requeue_after" | "error";

/** Counts reconciles under controller-runtime's metric names, so that existing dashboards work. */
export interface ControllerMetrics {
  registry: Registry;
  /** Begins one reconcile; the returned function ends it. */
  started(): (result: ReconcileResult) => void;
}

const BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

export function controllerMetrics(controller: string, queue: WorkQueue): ControllerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const total = new Counter({
    name: "controller_runtime_reconcile_total",
    help: "Reconciles by result",
    labelNames: ["controller", "result"],
    registers,
  });
  const errors = new Counter({
    name: "controller_runtime_reconcile_errors_total",
    help: "Reconciles that failed",
    labelNames: ["controller"],
    registers,
  });
  const seconds = new Histogram({
    name: "controller_runtime_reconcile_time_seconds",
    help: "Duration of a reconcile",
    labelNames: ["controller"],
    buckets: BUCKETS_SECONDS,
    registers,
  });
  const depth: Gauge<"name"> = new Gauge({
    name: "workqueue_depth",
    help: "Keys that wait for a worker",
    labelNames: ["name"],
    registers,
    collect: (): void => depth.set({ name: controller }, queue.depth),
  });
  const started = () => {
    const end = seconds.startTimer({ controller });
    return (result: ReconcileResult) => {
      end();
      total.inc({ controller, result });
      if (result === "error") errors.inc({ controller });
    };
  };
  return { registry, started };
}
