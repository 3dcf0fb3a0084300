// What is measured: flat out, idle, and the common parts of the other modes.
#include "load.h"

mode_hooks hooks;
static void (*mode_client)(conn *c), (*mode_upstream)(conn *c);

static bool has(const conn *c, const char *text) { return strstr((const char *)c->pre, text) != NULL; }

static bool starts(const conn *c, const char *text) { return !strncmp((const char *)c->pre, text, strlen(text)); }

static void on_client(conn *c) {
  if (c->ready) {
    // What the relay says itself is not the load's.
    if (starts(c, "{\"method\":\"argus/")) c->messages--;
    else if (mode_client) mode_client(c);
    return;
  }
  if (!has(c, "\"result\"")) fail("the hello was refused: %s", c->pre);
  c->ready = true;
  c->messages = 0;
  clients_ready++;
  if (hooks.client_ready) hooks.client_ready(c);
}

static void on_upstream(conn *c) {
  if (!c->ready) {
    char *text = malloc(strlen(cfg.hello) + 64);
    if (!text) fail("no memory for a hello");
    uint64_t id = number_after(c, "\"id\":");
    int length = sprintf(text, "{\"id\":%llu,\"result\":%s}\n", (unsigned long long)id, cfg.hello);
    send_bytes(c, text, (size_t)length);
    free(text);
    c->ready = true;
    c->messages = 0;
    upstreams_ready++;
  } else if (has(c, "\"bench/echo\"") || !has(c, "\"method\":") || has(c, "\"method\":\"item/")) {
    if (mode_upstream) mode_upstream(c);
  } else if (has(c, "\"id\":")) {
    // The relay's own question, for example the handshake of the app-server.
    c->messages--;
    answer(c);
  }
}

void set_up(void (*client)(conn *c), void (*upstream)(conn *c)) {
  mode_client = client;
  mode_upstream = upstream;
  hooks.client_message = on_client;
  hooks.upstream_message = on_upstream;
}

uint64_t total(conn **list, int count) {
  uint64_t sum = 0;
  for (int i = 0; i < count; i++) sum += list[i]->messages;
  return sum;
}

static void measure(conn **list, const int *count) {
  run_until(now_ns() + cfg.warm_ns);
  uint64_t before = total(list, *count);
  reading from = take_reading();
  run_until(now_ns() + cfg.run_ns);
  reading to = take_reading();
  print_number("lines", total(list, *count) - before);
  print_window("", from, to);
}

// Upstream to clients, flat out.
static void mode_down(void) {
  set_up(NULL, NULL);
  connect_all(cfg.clients);
  block b = make_block(cfg.size, false);
  int count = cfg.fan ? 1 : upstream_count;
  for (int i = 0; i < count; i++) flood(upstreams[i], &b, 262144);
  measure(clients, &client_count);
}

// Clients to upstream, flat out.
static void mode_up(void) {
  set_up(NULL, NULL);
  connect_all(cfg.clients);
  block b = make_block(cfg.size, cfg.websocket);
  for (int i = 0; i < client_count; i++) flood(clients[i], &b, 262144);
  measure(upstreams, &upstream_count);
}

// Memory and idle CPU at each level of connections.
static void mode_idle(void) {
  set_up(NULL, NULL);
  printf("\"levels\":[");
  for (int i = 0; i < cfg.level_count; i++) {
    connect_all(cfg.levels[i]);
    run_until(now_ns() + cfg.warm_ns);
    reading from = take_reading();
    run_until(now_ns() + cfg.run_ns);
    reading to = take_reading();
    memory m = take_memory();
    printf("%s{", i ? "," : "");
    print_number("rssKiB", m.rss_kib);
    print_number("pssKiB", m.pss_kib);
    print_window("", from, to);
    printf("\"sessions\":%d}", cfg.levels[i]);
  }
  printf("],");
}

bool run_mode(void) {
  static const struct {
    const char *name;
    void (*run)(void);
  } modes[] = {{"down", mode_down},   {"up", mode_up},     {"echo", mode_echo}, {"noisy", mode_noisy},
               {"paced", mode_paced}, {"idle", mode_idle}, {"slow", mode_slow}, {"connect", mode_connect},
               {"deaf", mode_deaf}};
  for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
    if (strcmp(cfg.mode, modes[i].name)) continue;
    printf("{");
    modes[i].run();
    printf("\"mode\":\"%s\"}\n", cfg.mode);
    return true;
  }
  return false;
}
