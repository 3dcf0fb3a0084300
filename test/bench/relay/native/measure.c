#include "load.h"
#include <time.h>
#include <unistd.h>

uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

// CPU time of all threads of a process, kernel work included; 0 when it is gone.
static uint64_t cpu_of(int pid) {
  clockid_t id;
  struct timespec t;
  if (clock_getcpuclockid(pid, &id) || clock_gettime(id, &t)) return 0;
  return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

// Busy time of all cores since boot.
static uint64_t busy_ns(void) {
  FILE *f = fopen("/proc/stat", "r");
  unsigned long long v[8] = {0};
  if (!f) return 0;
  int n = fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3, v + 4,
                 v + 5, v + 6, v + 7);
  fclose(f);
  // Idle and waiting for a disk are not busy.
  unsigned long long ticks = n < 8 ? 0 : v[0] + v[1] + v[2] + v[5] + v[6] + v[7];
  return ticks * (SECOND / (uint64_t)sysconf(_SC_CLK_TCK));
}

reading take_reading(void) {
  reading r = {.at = now_ns(), .load_cpu = cpu_of(0), .busy = busy_ns()};
  for (int i = 0; i < cfg.pid_count; i++) r.relay_cpu += cpu_of(cfg.pids[i]);
  return r;
}

static uint64_t field_of(const char *text, const char *name) {
  const char *at = strstr(text, name);
  return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

memory take_memory(void) {
  memory sum = {0, 0};
  for (int i = 0; i < cfg.pid_count; i++) {
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", cfg.pids[i]);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    sum.rss_kib += field_of(text, "\nRss:");
    sum.pss_kib += field_of(text, "\nPss:");
  }
  return sum;
}

static uint64_t *samples;
static size_t sample_count, sample_capacity;

void sample(uint64_t ns) {
  if (sample_count == sample_capacity) {
    sample_capacity = sample_capacity ? sample_capacity * 2 : 1 << 16;
    samples = realloc(samples, sample_capacity * sizeof *samples);
    if (!samples) fail("no memory for samples");
  }
  samples[sample_count++] = ns;
}

void clear_samples(void) { sample_count = 0; }

static int ascending(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

void print_number(const char *name, uint64_t value) {
  printf("\"%s\":%llu,", name, (unsigned long long)value);
}

void print_samples(const char *name) {
  char field[64];
  qsort(samples, sample_count, sizeof *samples, ascending);
  snprintf(field, sizeof field, "%sSamples", name);
  print_number(field, sample_count);
  if (!sample_count) return;
  snprintf(field, sizeof field, "%sP50Ns", name);
  print_number(field, samples[sample_count / 2]);
  snprintf(field, sizeof field, "%sP99Ns", name);
  print_number(field, samples[(size_t)((double)(sample_count - 1) * 0.99)]);
  snprintf(field, sizeof field, "%sMaxNs", name);
  print_number(field, samples[sample_count - 1]);
}

void print_window(const char *name, reading from, reading to) {
  char field[64];
  uint64_t relay = to.relay_cpu - from.relay_cpu, load = to.load_cpu - from.load_cpu;
  uint64_t busy = to.busy - from.busy;
  snprintf(field, sizeof field, "%sWallNs", name);
  print_number(field, to.at - from.at);
  snprintf(field, sizeof field, "%sRelayCpuNs", name);
  print_number(field, relay);
  snprintf(field, sizeof field, "%sLoadCpuNs", name);
  print_number(field, load);
  snprintf(field, sizeof field, "%sForeignNs", name);
  print_number(field, busy > relay + load ? busy - relay - load : 0);
}
