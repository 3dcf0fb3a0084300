// Many slow streams: each session's lines at a fixed rate, phases spread.
#include "load.h"

uint64_t paced_lost;
bool paced_stopped;
static line delta;
static int session_count, turn_index;
static uint64_t *phases, period, base;
static bool counting;

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

void paced_start(uint64_t rate) {
  session_count = cfg.fan ? 1 : upstream_count;
  period = SECOND / rate;
  delta = notification(cfg.size);
  phases = calloc((size_t)session_count, sizeof *phases);
  if (!phases) fail("no memory for phases");
  // Fibonacci hashing spreads them; in time order, so that one pointer walks them.
  for (int i = 0; i < session_count; i++) phases[i] = ((uint64_t)i * 0x9E3779B97F4A7C15ULL >> 20) % period;
  qsort(phases, (size_t)session_count, sizeof *phases, ascending);
  base = now_ns() + 10 * MS;
  hooks.tick = paced_tick;
  hooks.next_tick = paced_next;
}

uint64_t paced_next(void) { return paced_stopped ? 0 : base + phases[turn_index]; }

void paced_tick(uint64_t now) {
  while (!paced_stopped && paced_next() <= now) {
    conn *c = upstreams[turn_index];
    send_line(c, &delta, c->sequence++ % 10000000, now_ns());
    if (++turn_index < session_count) continue;
    turn_index = 0;
    base += period;
  }
}

void paced_received(conn *c) {
  uint64_t number = number_after(c, "\"n\":\"");
  if (number == UINT64_MAX) return;
  if (number != c->expected % 10000000) paced_lost++;
  c->expected = number + 1;
  if (counting) sample(now_ns() - number_after(c, "\"t\":\""));
}

static uint64_t backlog(void) {
  uint64_t lines = 0;
  for (int i = 0; i < client_count; i++) {
    lines += upstreams[cfg.fan ? 0 : i]->sequence - clients[i]->expected;
  }
  return lines;
}

static bool undelivered(void) { return backlog() > 0; }

void mode_paced(void) {
  set_up(paced_received, NULL);
  connect_all(cfg.clients);
  paced_start(cfg.rate);
  run_until(now_ns() + cfg.warm_ns);
  counting = true;
  uint64_t before = total(clients, client_count);
  reading from = take_reading();
  run_until(now_ns() + cfg.run_ns);
  reading to = take_reading();
  counting = false;
  print_number("lines", total(clients, client_count) - before);
  print_number("backlog", backlog());
  paced_stopped = true;
  run_while(undelivered, 10 * SECOND, "delivery of the last line");
  print_number("lost", paced_lost);
  print_window("", from, to);
  print_samples("");
}

// Fan-out with a reader that stops: client 0 goes deaf; the others' delay before and after, and whether the writer waits.
void mode_deaf(void) {
  set_up(paced_received, NULL);
  connect_all(cfg.clients);
  conn *slow = clients[0], *writer = upstreams[0]->writer;
  paced_start(cfg.rate);
  run_until(now_ns() + cfg.warm_ns);
  counting = true;
  run_until(now_ns() + cfg.run_ns);
  print_samples("alone");
  clear_samples();
  memory before = take_memory();
  slow->deaf = true;
  watch(slow);
  reading from = take_reading();
  uint64_t waiting = 0;
  while (now_ns() < from.at + 5 * SECOND) {
    run_until(now_ns() + 5 * MS);
    uint64_t unsent = writer->out_length - writer->out_at;
    if (unsent > waiting) waiting = unsent;
  }
  reading to = take_reading();
  memory after = take_memory();
  counting = false;
  // The end stands behind what it has not read: with no more lines coming, a peer that was cut off finds it.
  paced_stopped = true;
  slow->deaf = false;
  watch(slow);
  run_until(now_ns() + SECOND);
  print_samples("");
  print_number("rssBeforeKiB", before.rss_kib);
  print_number("rssAfterKiB", after.rss_kib);
  print_number("writerWaitingBytes", waiting);
  print_number("cutOff", slow->closed);
  print_number("lost", paced_lost);
  print_window("", from, to);
}
