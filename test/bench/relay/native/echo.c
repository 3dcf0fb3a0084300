// Requests that wait for their answer: alone, beside floods, beside a client that does not read, and one per connection.
#include "load.h"
#include <sys/socket.h>

#define IDS_PER_CLIENT 100000

uint64_t echo_answers;
static line ping;
static int last_echo;  // clients 0..last_echo send requests

void echo_send(conn *c) {
  uint64_t id = 1000000 + (uint64_t)(c->index % 90) * IDS_PER_CLIENT + c->sequence++ % IDS_PER_CLIENT;
  send_line(c, &ping, id, now_ns());
}

void echo_received(conn *c) {
  uint64_t id = number_after(c, "\"id\":"), time = number_after(c, "\"t\":\"");
  if (!strstr((char *)c->pre, "\"result\"")) fail("not the answer: %s", c->pre);
  if ((id - 1000000) / IDS_PER_CLIENT != (uint64_t)(c->index % 90)) fail("another client's answer: %s", c->pre);
  uint64_t now = now_ns();
  sample(now - time);
  echo_answers++;
  if (cfg.pause_ns) c->due = now + cfg.pause_ns;
  else echo_send(c);
}

uint64_t echo_next(void) {
  uint64_t next = 0;
  for (int i = 0; i < client_count && i <= last_echo; i++) {
    if (clients[i]->due && (!next || clients[i]->due < next)) next = clients[i]->due;
  }
  return next;
}

void echo_tick(uint64_t now) {
  for (int i = 0; i < client_count && i <= last_echo; i++) {
    if (!clients[i]->due || clients[i]->due > now) continue;
    clients[i]->due = 0;
    echo_send(clients[i]);
  }
}

static void on_client(conn *c) {
  if (c->index <= last_echo && strstr((char *)c->pre, "\"id\":")) echo_received(c);
}

static void start_echo(int first, int last) {
  ping = request(cfg.size);
  last_echo = last;
  hooks.tick = echo_tick;
  hooks.next_tick = echo_next;
  for (int i = first; i <= last; i++) {
    for (int k = 0; k < cfg.window; k++) echo_send(clients[i]);
  }
}

void mode_echo(void) {
  set_up(on_client, answer);
  connect_all(cfg.clients);
  start_echo(0, cfg.clients - 1);
  run_until(now_ns() + cfg.warm_ns);
  clear_samples();
  echo_answers = 0;
  reading from = take_reading();
  run_until(now_ns() + cfg.run_ns);
  reading to = take_reading();
  print_number("lines", echo_answers);
  print_window("", from, to);
  print_samples("");
}

// Client 0 plays ping-pong, the upstreams of all others write flat out.
void mode_noisy(void) {
  set_up(on_client, answer);
  connect_all(cfg.clients);
  block b = make_block(cfg.flood_size, false);
  start_echo(0, 0);
  for (int i = 1; i < upstream_count; i++) flood(upstreams[i], &b, 65536);
  run_until(now_ns() + cfg.warm_ns);
  clear_samples();
  uint64_t before = 0, after = 0;
  for (int i = 1; i < client_count; i++) before += clients[i]->bytes_in;
  reading from = take_reading();
  run_until(now_ns() + cfg.run_ns);
  reading to = take_reading();
  for (int i = 1; i < client_count; i++) after += clients[i]->bytes_in;
  print_number("floodBytes", after - before);
  print_window("", from, to);
  print_samples("");
}

// Client 0 shakes hands and then never reads while its upstream writes flat out; client 1 plays ping-pong all along.
void mode_slow(void) {
  set_up(on_client, answer);
  connect_all(1);
  conn *slow = clients[0];
  int small = 65536;
  setsockopt(slow->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  connect_all(2);
  last_echo = 1;
  start_echo(1, 1);
  run_until(now_ns() + cfg.warm_ns);
  clear_samples();
  run_until(now_ns() + cfg.run_ns);
  print_samples("alone");
  clear_samples();
  memory before = take_memory();
  slow->deaf = true;
  watch(slow);
  block b = make_block(cfg.flood_size, false);
  flood(upstreams[0], &b, 262144);
  reading from = take_reading();
  run_until(from.at + 4 * SECOND);
  uint64_t written = upstreams[0]->bytes_out;
  run_until(from.at + 5 * SECOND);
  reading to = take_reading();
  memory after = take_memory();
  print_samples("");
  print_number("rssBeforeKiB", before.rss_kib);
  print_number("rssAfterKiB", after.rss_kib);
  print_number("floodBytes", upstreams[0]->bytes_out);
  print_number("lastSecondBytes", upstreams[0]->bytes_out - written);
  print_number("cutOff", slow->closed || upstreams[0]->closed);
  print_window("", from, to);
}

static uint64_t connects;

static void next_connection(void) {
  conn *c = connect_client();
  // Others are told by the hook.
  if (c->ready) echo_send(c);
}

static void on_connected(conn *c) {
  if (!strstr((char *)c->pre, "\"id\":")) return;
  uint64_t time = number_after(c, "\"t\":\"");
  sample(now_ns() - time);
  connects++;
  drop(c);
  next_connection();
}

// TCP, handshake, upstream connection, one echo, close; the same again.
void mode_connect(void) {
  set_up(on_connected, answer);
  ping = request(cfg.size);
  hooks.client_ready = echo_send;
  for (int i = 0; i < cfg.concurrency; i++) next_connection();
  run_until(now_ns() + cfg.warm_ns);
  clear_samples();
  connects = 0;
  reading from = take_reading();
  run_until(now_ns() + cfg.run_ns);
  reading to = take_reading();
  print_number("lines", connects);
  print_window("", from, to);
  print_samples("");
}
