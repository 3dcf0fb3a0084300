// Usage: load key=value ...; prints one JSON object with what it measured.
#include "load.h"
#include <signal.h>
#include <sys/resource.h>

settings cfg = {.mode = "down",
                .path = "/ws",
                .auth = "",
                .hello = "",
                .greet = "",
                .stub = "",
                .front_host = "127.0.0.1",
                .listen_host = "127.0.0.1",
                .clients = 8,
                .window = 1,
                .concurrency = 1,
                .size = 200,
                .flood_size = 1 << 20,
                .rate = 100,
                .warm_ns = 400 * MS,
                .run_ns = 1200 * MS};

static int numbers(const char *text, int *into, int most) {
  int count = 0;
  for (char *end; *text && count < most; text = *end ? end + 1 : end) into[count++] = (int)strtol(text, &end, 10);
  return count;
}

static void host_port(const char *text, char *host, int *port) {
  const char *colon = strrchr(text, ':');
  if (!colon || colon - text > 63) fail("not host:port: %s", text);
  memcpy(host, text, (size_t)(colon - text));
  host[colon - text] = 0;
  *port = atoi(colon + 1);
}

static bool text_setting(const char *name, const char *value) {
  if (!strcmp(name, "mode")) cfg.mode = value;
  else if (!strcmp(name, "path")) cfg.path = value;
  else if (!strcmp(name, "auth")) cfg.auth = value;
  else if (!strcmp(name, "hello")) cfg.hello = value;
  else if (!strcmp(name, "greet")) cfg.greet = value;
  else if (!strcmp(name, "stub")) cfg.stub = value;
  else if (!strcmp(name, "front")) host_port(value, cfg.front_host, &cfg.front_port);
  else if (!strcmp(name, "listen")) host_port(value, cfg.listen_host, &cfg.listen_port);
  else if (!strcmp(name, "wire")) cfg.websocket = !strcmp(value, "ws");
  else if (!strcmp(name, "pids")) cfg.pid_count = numbers(value, cfg.pids, 16);
  else if (!strcmp(name, "levels")) cfg.level_count = numbers(value, cfg.levels, 16);
  else return false;
  return true;
}

static bool number_setting(const char *name, uint64_t value) {
  if (!strcmp(name, "fan")) cfg.fan = value;
  else if (!strcmp(name, "clients")) cfg.clients = (int)value;
  else if (!strcmp(name, "window")) cfg.window = (int)value;
  else if (!strcmp(name, "concurrency")) cfg.concurrency = (int)value;
  else if (!strcmp(name, "size")) cfg.size = value;
  else if (!strcmp(name, "floodSize")) cfg.flood_size = value;
  else if (!strcmp(name, "rate")) cfg.rate = value;
  else if (!strcmp(name, "pauseUs")) cfg.pause_ns = value * 1000;
  else if (!strcmp(name, "warmMs")) cfg.warm_ns = value * MS;
  else if (!strcmp(name, "runMs")) cfg.run_ns = value * MS;
  else return false;
  return true;
}

int main(int count, char **words) {
  for (int i = 1; i < count; i++) {
    char *equals = strchr(words[i], '=');
    if (!equals) fail("not key=value: %s", words[i]);
    *equals = 0;
    if (text_setting(words[i], equals + 1)) continue;
    if (!number_setting(words[i], strtoull(equals + 1, NULL, 10))) fail("unknown setting: %s", words[i]);
  }
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  loop_start();
  if (!run_mode()) fail("unknown mode: %s", cfg.mode);
  loop_end();
  return 0;
}
