import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { WorkQueue } from "#lib/workqueue.ts";

export type ReconcileResult = "success" | "requeue_after" | "error";

/** Counts the reconciles of one kind. */
export interface KindMetrics {
  /** Begins one reconcile; the returned function ends it. */
  started(): (result: ReconcileResult) => void;
}

export interface MetricsSources {
  /** Name of the Lease. */
  lease: string;
  isLeader: () => boolean;
  /** Answers of the Kubernetes API so far, by `METHOD code`. */
  requests?: (() => ReadonlyMap<string, number>) | undefined;
}

const BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** All metrics of the process, under controller-runtime's names, so that existing dashboards work. */
export class Metrics {
  readonly registry = new Registry();
  readonly #queues = new Map<string, WorkQueue>();
  readonly #total = new Counter({
    name: "controller_runtime_reconcile_total",
    help: "Reconciles by result",
    labelNames: ["controller", "result"],
    registers: [this.registry],
  });
  readonly #errors = new Counter({
    name: "controller_runtime_reconcile_errors_total",
    help: "Reconciles that failed",
    labelNames: ["controller"],
    registers: [this.registry],
  });
  readonly #seconds = new Histogram({
    name: "controller_runtime_reconcile_time_seconds",
    help: "Duration of a reconcile",
    labelNames: ["controller"],
    buckets: BUCKETS_SECONDS,
    registers: [this.registry],
  });

  readonly #waited = this.#histogram(
    "workqueue_queue_duration_seconds",
    "From a key's addition until a worker has it",
  );
  readonly #worked = this.#histogram(
    "workqueue_work_duration_seconds",
    "From a worker's having a key until it is done",
  );

  constructor({ lease, isLeader, requests }: MetricsSources) {
    this.#countRequests(requests);
    const registers = [this.registry];
    this.#measure("workqueue_depth", "Keys that wait for a worker", ({ depth }) => depth);
    this.#measure(
      "workqueue_unfinished_work_seconds",
      "Sum of the times that the keys under way have been worked on",
      ({ workingMs }) => workingMs.reduce((sum, ms) => sum + ms, 0) / 1000,
    );
    this.#measure(
      "workqueue_longest_running_processor_seconds",
      "Time that the oldest of the keys under way has been worked on",
      ({ workingMs }) => Math.max(0, ...workingMs) / 1000,
    );
    this.#count("workqueue_adds_total", "Keys that were added to the queue", "adds");
    this.#count("workqueue_retries_total", "Keys that were added again after a failure", "retries");
    const leader: Gauge<"name"> = new Gauge({
      name: "leader_election_master_status",
      help: "1 while this replica leads",
      labelNames: ["name"],
      registers,
      collect: (): void => leader.set({ name: lease }, isLeader() ? 1 : 0),
    });
  }

  #countRequests(requests: MetricsSources["requests"]): void {
    const counter: Counter<"method" | "code"> = new Counter({
      name: "rest_client_requests_total",
      help: "Calls of the Kubernetes API by method and answer",
      labelNames: ["method", "code"],
      registers: [this.registry],
      collect: (): void => {
        counter.reset();
        for (const [key, count] of requests?.() ?? []) {
          const [method = "", code = ""] = key.split(" ");
          counter.inc({ method, code }, count);
        }
      },
    });
  }

  #histogram(name: string, help: string): Histogram<"name"> {
    const registers = [this.registry];
    return new Histogram({
      name,
      help,
      labelNames: ["name"],
      buckets: BUCKETS_SECONDS,
      registers,
    });
  }

  /** Of each queue, when somebody asks. */
  #measure(name: string, help: string, value: (queue: WorkQueue) => number): void {
    const gauge: Gauge<"name"> = new Gauge({
      name,
      help,
      labelNames: ["name"],
      registers: [this.registry],
      collect: (): void => {
        for (const [queueName, queue] of this.#queues) {
          gauge.set({ name: queueName }, value(queue));
        }
      },
    });
  }

  /** A new term as the leader begins with a new queue, and its counts at zero. */
  #count(name: string, help: string, what: "adds" | "retries"): void {
    const counter: Counter<"name"> = new Counter({
      name,
      help,
      labelNames: ["name"],
      registers: [this.registry],
      collect: (): void => {
        counter.reset();
        for (const [queue, { counts }] of this.#queues) counter.inc({ name: queue }, counts[what]);
      },
    });
  }

  /** The metrics of one kind, from now on with this queue. */
  kind(controller: string, queue: WorkQueue): KindMetrics {
    this.#queues.set(controller, queue);
    const name = controller;
    queue.observe({
      waited: (ms) => this.#waited.observe({ name }, ms / 1000),
      worked: (ms) => this.#worked.observe({ name }, ms / 1000),
    });
    return {
      started: () => {
        const end = this.#seconds.startTimer({ controller });
        return (result) => {
          end();
          this.#total.inc({ controller, result });
          if (result === "error") this.#errors.inc({ controller });
        };
      },
    };
  }
}
