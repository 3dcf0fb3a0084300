// The load of the relay benchmark: clients and JSON-lines upstream in one process, so that one clock stamps everything.
#ifndef LOAD_H
#define LOAD_H
#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Bytes of each message that modes may look at: id, time stamp and sequence stand in them.
#define PRE 224
#define SECOND 1000000000ULL
#define MS 1000000ULL

typedef struct conn conn;

// Ready-made lines (or masked frames), written round and round.
typedef struct {
  uint8_t *bytes;
  size_t length;
} block;

struct conn {
  int fd;
  int index;
  bool client;      // else upstream
  bool ready;       // client: handshake or hello done; upstream: hello answered
  bool closed;
  bool deaf;        // never reads
  bool websocket;
  uint32_t events;  // what epoll watches now
  conn *writer;     // where its own bytes go: itself, but for an app-server on two pipes

  const block *flood;
  size_t flood_at;
  size_t turn_bytes;  // at most so much per turn
  uint8_t *out;       // bytes that wait
  size_t out_at, out_length, out_capacity;

  uint8_t head[14];
  int head_length;
  uint64_t left;  // of the current frame's payload
  bool in_frame, final;
  uint8_t opcode;
  uint8_t pre[PRE + 1];
  int pre_length;
  uint64_t message_length;

  uint64_t messages, bytes_in, bytes_out;
  uint64_t due;       // when to send the next request; 0 = no timer
  uint64_t sequence;  // of the next line sent
  uint64_t expected;  // of the next line received
  int http_matched;   // of the blank line that ends the handshake
};

typedef struct {
  const char *mode, *path, *auth, *hello, *greet, *stub;
  char front_host[64], listen_host[64];
  int front_port, listen_port;
  bool websocket, fan;
  int clients, window, concurrency;
  size_t size, flood_size;
  uint64_t pause_ns, warm_ns, run_ns, rate;
  int pids[16], pid_count;
  int levels[16], level_count;
} settings;

extern settings cfg;
extern conn **clients, **upstreams;
extern int client_count, upstream_count, clients_ready, upstreams_ready;

// What a mode does with complete messages; `line` holds the first PRE bytes, zero-terminated.
typedef struct {
  void (*client_message)(conn *c);
  void (*upstream_message)(conn *c);
  void (*client_ready)(conn *c);
  void (*closed)(conn *c);
  void (*tick)(uint64_t now);
  uint64_t (*next_tick)(void);  // 0 = no timer
} mode_hooks;
extern mode_hooks hooks;

// loop.c
void loop_start(void);
void loop_end(void);
void run_until(uint64_t deadline);
void run_while(bool (*waiting)(void), uint64_t timeout_ns, const char *what);
conn *connect_client(void);
void connect_all(int count);
void flood(conn *c, const block *b, size_t turn_bytes);
void send_bytes(conn *c, const void *bytes, size_t length);
void watch(conn *c);
void drop(conn *c);
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

// wire.c
void take_bytes(conn *c, uint8_t *bytes, size_t length);
size_t frame_header(uint8_t *target, size_t length, bool masked);
void send_message(conn *c, const uint8_t *line, size_t length);
void send_handshake(conn *c);
uint64_t number_after(const conn *c, const char *key);
void set_digits(uint8_t *at, int digits, uint64_t value);

// lines.c
typedef struct {
  uint8_t *bytes;
  size_t length;
  size_t number_at, time_at;
} line;
line notification(size_t size);
line request(size_t size);
block make_block(size_t size, bool masked);
void send_line(conn *c, line *l, uint64_t number, uint64_t now);
void answer(conn *c);

// measure.c
uint64_t now_ns(void);
typedef struct {
  uint64_t at, relay_cpu, load_cpu, busy;
} reading;
typedef struct {
  uint64_t rss_kib, pss_kib;
} memory;
reading take_reading(void);
memory take_memory(void);
void sample(uint64_t ns);
void clear_samples(void);
void print_window(const char *name, reading from, reading to);
void print_samples(const char *name);
void print_number(const char *name, uint64_t value);

// modes.c
void set_up(void (*client)(conn *c), void (*upstream)(conn *c));
uint64_t total(conn **list, int count);
bool run_mode(void);

// echo.c
void echo_send(conn *c);
void echo_tick(uint64_t now);
uint64_t echo_next(void);
void echo_received(conn *c);
extern uint64_t echo_answers;
void mode_echo(void);
void mode_noisy(void);
void mode_slow(void);
void mode_connect(void);

// paced.c
void paced_start(uint64_t rate);
void paced_tick(uint64_t now);
uint64_t paced_next(void);
void paced_received(conn *c);
extern uint64_t paced_lost;
extern bool paced_stopped;
void mode_paced(void);
void mode_deaf(void);
#endif
