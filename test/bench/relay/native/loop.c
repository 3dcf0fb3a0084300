// One epoll loop for all sockets.
#include "load.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (256 * 1024)

conn **clients, **upstreams;
int client_count, upstream_count, clients_ready, upstreams_ready;
static int epoll, listener = -1;
static uint8_t buffer[READ_BYTES];

void fail(const char *format, ...) {
  va_list list;
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
  fputc('\n', stderr);
  exit(1);
}

static struct sockaddr_in address(const char *host, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, host, &a.sin_addr) != 1) fail("not an address: %s", host);
  return a;
}

static void nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// Registers what a connection waits for; called whenever that may have changed.
void watch(conn *c) {
  if (c->closed) return;
  bool writes = c->writer == c && (c->flood || c->out_length > c->out_at);
  uint32_t events = (c->deaf ? 0 : EPOLLIN) | (writes ? EPOLLOUT : 0);
  if (events == c->events) return;
  struct epoll_event event = {.events = events, .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
  c->events = events;
}

static conn *add(int fd, bool client) {
  conn *c = calloc(1, sizeof *c);
  if (!c) fail("no memory for a connection");
  c->fd = fd;
  c->client = client;
  c->writer = c;
  c->events = EPOLLIN;
  nonblocking(fd);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll: %s", strerror(errno));
  conn ***list = client ? &clients : &upstreams;
  int *count = client ? &client_count : &upstream_count;
  *list = realloc(*list, (size_t)(*count + 1) * sizeof **list);
  if (!*list) fail("no memory for connections");
  c->index = *count;
  (*list)[(*count)++] = c;
  return c;
}

void drop(conn *c) {
  if (c->closed) return;
  c->closed = true;
  close(c->fd);
  free(c->out);
  c->out = NULL;
  c->out_at = c->out_length = c->out_capacity = 0;
  if (hooks.closed) hooks.closed(c);
}

static void flush(conn *c) {
  while (c->out_at < c->out_length && !c->closed) {
    ssize_t n = write(c->fd, c->out + c->out_at, c->out_length - c->out_at);
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return drop(c);
    c->out_at += (size_t)n;
    c->bytes_out += (uint64_t)n;
  }
  if (c->out_at == c->out_length) c->out_at = c->out_length = 0;
  watch(c);
}

void send_bytes(conn *from, const void *bytes, size_t length) {
  conn *c = from->writer;
  if (c->closed) return;
  if (c->out_length + length > c->out_capacity) {
    c->out_capacity = (c->out_length + length) * 2;
    c->out = realloc(c->out, c->out_capacity);
    if (!c->out) fail("no memory for output");
  }
  memcpy(c->out + c->out_length, bytes, length);
  c->out_length += length;
  // What waits already is flushed by the loop.
  if (c->out_length == length || c->out_length - c->out_at == length) flush(c);
}

void flood(conn *c, const block *b, size_t turn_bytes) {
  c->writer->flood = b;
  c->writer->turn_bytes = turn_bytes;
  watch(c->writer);
}

static void write_flood(conn *c) {
  for (size_t sent = 0; c->flood && sent < c->turn_bytes;) {
    size_t part = c->flood->length - c->flood_at;
    if (part > c->turn_bytes - sent) part = c->turn_bytes - sent;
    ssize_t n = write(c->fd, c->flood->bytes + c->flood_at, part);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) return drop(c);
    sent += (size_t)n;
    c->bytes_out += (uint64_t)n;
    c->flood_at = (c->flood_at + (size_t)n) % c->flood->length;
  }
}

static void accept_all(void) {
  for (;;) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) return;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    conn *c = add(fd, false);
    if (!*cfg.hello) {
      c->ready = true;
      upstreams_ready++;
    }
  }
}

static void handle(conn *c, uint32_t events) {
  if (c->closed) return;
  if (events & EPOLLOUT) {
    if (c->out_length > c->out_at) flush(c);
    else if (c->flood) write_flood(c);
  }
  if (!c->closed && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
    if (c->deaf) {
      if (events & (EPOLLHUP | EPOLLERR)) drop(c);
      return;
    }
    ssize_t n = read(c->fd, buffer, sizeof buffer);
    if (n > 0) take_bytes(c, buffer, (size_t)n);
    else if (n == 0 || errno != EAGAIN) drop(c);
  }
}

static void turn(uint64_t until) {
  struct epoll_event events[256];
  uint64_t now = now_ns(), next = hooks.next_tick ? hooks.next_tick() : 0;
  if (next && next < until) until = next;
  uint64_t wait = until > now ? until - now : 0;
  struct timespec timeout = {(time_t)(wait / SECOND), (long)(wait % SECOND)};
  int n = epoll_pwait2(epoll, events, 256, &timeout, NULL);
  for (int i = 0; i < n; i++) {
    if (events[i].data.ptr) handle(events[i].data.ptr, events[i].events);
    else accept_all();
  }
  if (hooks.tick) hooks.tick(now_ns());
}

void run_until(uint64_t deadline) {
  while (now_ns() < deadline) turn(deadline);
}

void run_while(bool (*waiting)(void), uint64_t timeout_ns, const char *what) {
  uint64_t deadline = now_ns() + timeout_ns;
  while (waiting()) {
    if (now_ns() > deadline) {
      fail("no %s in time: %d clients, %d ready; %d upstreams, %d ready", what, client_count, clients_ready,
           upstream_count, upstreams_ready);
    }
    turn(deadline);
  }
}

/* A token works once: each connection sends the next line. */
static void send_greeting(conn *c) {
  static const char *next;
  if (!next || !*next) next = cfg.greet;
  size_t length = strcspn(next, "\n");
  send_bytes(c, next, length);
  send_bytes(c, "\n", 1);
  next += length;
  if (*next) next++;
}

conn *connect_client(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  struct sockaddr_in to = address(cfg.front_host, cfg.front_port);
  if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to)) fail("cannot connect: %s", strerror(errno));
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  conn *c = add(fd, true);
  c->websocket = cfg.websocket;
  if (cfg.websocket) {
    send_handshake(c);
  } else if (*cfg.greet) {
    send_greeting(c);
  } else {
    c->ready = true;
    clients_ready++;
  }
  return c;
}

static bool some_not_ready(void) {
  return clients_ready < client_count || upstreams_ready < (cfg.fan ? 1 : client_count);
}

// Connects until there are `count` clients; with one at a time, client i and upstream i are the two ends of one link.
void connect_all(int count) {
  while (client_count < count) {
    for (int i = 0; i < cfg.concurrency && client_count < count; i++) connect_client();
    run_while(some_not_ready, 20 * SECOND, "connection");
  }
}

// Takes over the pipes of an app-server (`stub.c`): one to read from, one to write to.
static void adopt_pipes(void) {
  int link = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_un to = {.sun_family = AF_UNIX};
  snprintf(to.sun_path, sizeof to.sun_path, "%s", cfg.stub);
  if (connect(link, (struct sockaddr *)&to, sizeof to)) fail("no app-server at %s: %s", cfg.stub, strerror(errno));
  char byte, control[CMSG_SPACE(2 * sizeof(int))];
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(link, &message, 0) <= 0 || !CMSG_FIRSTHDR(&message)) fail("the app-server keeps its pipes");
  int pipes[2];
  memcpy(pipes, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof pipes);
  conn *reader = add(pipes[0], false), *writer = add(pipes[1], false);
  reader->writer = writer;
  reader->ready = writer->ready = true;
  upstreams_ready = 1;
}

// The app-server outlives the load: its last line must be whole, and no request may stay without an answer.
void loop_end(void) {
  if (!*cfg.stub) return;
  conn *c = upstreams[1];
  const block *b = c->flood;
  c->flood = NULL;
  hooks.tick = NULL;
  hooks.next_tick = NULL;
  set_up(NULL, answer);
  if (b && c->flood_at && b->bytes[c->flood_at - 1] != '\n') {
    const uint8_t *at = b->bytes + c->flood_at, *end = memchr(at, '\n', b->length - c->flood_at);
    send_bytes(c, at, (size_t)(end - at) + 1);
  }
  uint64_t before, deadline = now_ns() + 10 * SECOND;
  do {
    if (now_ns() > deadline) fail("the app-server does not come to rest");
    before = total(upstreams, upstream_count) + total(clients, client_count);
    run_until(now_ns() + 50 * MS);
  } while (c->out_length > c->out_at || before != total(upstreams, upstream_count) + total(clients, client_count));
}

void loop_start(void) {
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (*cfg.stub) return adopt_pipes();
  if (!cfg.listen_port) return;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in at = address(cfg.listen_host, cfg.listen_port);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) fail("cannot listen: %s", strerror(errno));
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
}
