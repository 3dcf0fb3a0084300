import { expect, test } from "vitest";
import { Metrics } from "#controller/metrics.ts";
import { WorkQueue } from "#lib/workqueue.ts";
import { ManualClock } from "../../support/manual-clock.ts";

test("metrics have the names that dashboards know, with a label for each kind", async () => {
  const state = { leads: false };
  const metrics = new Metrics({
    lease: "argus-controller",
    isLeader: () => state.leads,
    requests: () => new Map([["GET 200", 7]]),
  });
  const clock = new ManualClock();
  const queue = new WorkQueue({ clock });
  const kind = metrics.kind("argussession", queue);
  metrics.kind("arguscron", new WorkQueue());
  queue.add("default/main");
  queue.add("default/main");
  queue.retry("default/other");
  kind.started()("error");
  kind.started()("success");
  queue.add("default/done");
  queue.add("default/long", "urgent");
  await clock.advance(2000);
  const never = new AbortController().signal;
  expect(await queue.take(never)).toBe("default/long");
  await clock.advance(1000);
  expect(await queue.take(never)).toBe("default/main");
  await clock.advance(500);
  queue.done("default/main");
  const text = await metrics.registry.metrics();
  for (const line of [
    'controller_runtime_reconcile_total{controller="argussession",result="success"} 1',
    'controller_runtime_reconcile_errors_total{controller="argussession"} 1',
    'controller_runtime_reconcile_time_seconds_count{controller="argussession"} 2',
    'workqueue_depth{name="argussession"} 2',
    'workqueue_queue_duration_seconds_sum{name="argussession"} 5',
    'workqueue_queue_duration_seconds_bucket{le="2.5",name="argussession"} 1',
    'workqueue_work_duration_seconds_sum{name="argussession"} 0.5',
    'workqueue_unfinished_work_seconds{name="argussession"} 1.5',
    'workqueue_longest_running_processor_seconds{name="argussession"} 1.5',
    'workqueue_longest_running_processor_seconds{name="arguscron"} 0',
    'workqueue_depth{name="arguscron"} 0',
    'rest_client_requests_total{method="GET",code="200"} 7',
    'workqueue_adds_total{name="argussession"} 5',
    'workqueue_retries_total{name="argussession"} 1',
    'leader_election_master_status{name="argus-controller"} 0',
  ]) {
    expect(text).toContain(line);
  }
  state.leads = true;
  expect(await metrics.registry.metrics()).toContain('master_status{name="argus-controller"} 1');
  // Asked twice, counted once.
  expect(await metrics.registry.metrics()).toContain('workqueue_adds_total{name="argussession"} 5');
});
