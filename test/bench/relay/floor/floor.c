// The floor: a WebSocket relay in C with one epoll loop; what the kernel and the framing cost and nothing else.
// No limits, no close handshake, no UTF-8 check. Usage: floor PORT UPSTREAM_PORT
#define _GNU_SOURCE
#include "floor.h"
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536

typedef struct {
  uint8_t *bytes;
  size_t at, length, capacity;
} queue;

typedef struct side {
  int fd;
  bool client, open, closed;
  struct side *peer;
  uint32_t events;
  queue in, out;
} side;

static int epoll, upstream_port;
static side *dead[1024];
static int dead_count;

static uint8_t *room(queue *q, size_t more) {
  if (q->at && q->length + more > q->capacity) {
    memmove(q->bytes, q->bytes + q->at, q->length -= q->at);
    q->at = 0;
  }
  if (q->length + more > q->capacity) {
    q->capacity = (q->length + more) * 2;
    q->bytes = realloc(q->bytes, q->capacity);
    if (!q->bytes) abort();
  }
  return q->bytes + q->length;
}

static void watch(side *s) {
  bool full = s->peer && s->peer->out.length > s->peer->out.at;
  uint32_t events = (full ? 0 : EPOLLIN) | (s->out.length > s->out.at ? EPOLLOUT : 0);
  struct epoll_event event = {.events = events, .data.ptr = s};
  if (s->closed || events == s->events) return;
  epoll_ctl(epoll, s->events == UINT32_MAX ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, s->fd, &event);
  s->events = events;
}

static side *add(int fd, bool client) {
  side *s = calloc(1, sizeof *s);
  int on = 1;
  if (!s) abort();
  *s = (side){.fd = fd, .client = client, .open = !client, .events = UINT32_MAX};
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return s;
}

static void end(side *s) {
  if (!s || s->closed) return;
  s->closed = true;
  close(s->fd);
  // Freed after the round: its event may still be in the list.
  if (dead_count < 1024) dead[dead_count++] = s;
  end(s->peer);
}

static void flush(side *s) {
  while (s->out.at < s->out.length) {
    ssize_t n = write(s->fd, s->out.bytes + s->out.at, s->out.length - s->out.at);
    if (n < 0 && errno == EAGAIN) break;
    if (n <= 0) return end(s);
    s->out.at += (size_t)n;
  }
  if (s->out.at == s->out.length) s->out.at = s->out.length = 0;
  watch(s);
  if (s->peer) watch(s->peer);
}

static void put_frame(queue *out, const uint8_t *line, size_t length) {
  uint8_t *at = room(out, length + 10);
  size_t header = length < 126 ? 2 : length < 65536 ? 4 : 10;
  uint64_t big = htobe64(length);
  at[0] = 0x81;
  at[1] = (uint8_t)(header == 2 ? length : header == 4 ? 126 : 127);
  if (header > 2) memcpy(at + 2, (uint8_t *)&big + 8 - (header - 2), header - 2);
  memcpy(at + header, line, length);
  out->length += header + length;
}

static void lines_to_frames(side *s, size_t fresh) {
  size_t from = s->in.length - fresh;
  uint8_t *newline;
  while ((newline = memchr(s->in.bytes + from, '\n', s->in.length - from))) {
    put_frame(&s->peer->out, s->in.bytes + s->in.at, (size_t)(newline - s->in.bytes) - s->in.at);
    from = s->in.at = (size_t)(newline - s->in.bytes) + 1;
  }
}

static void unmask(uint8_t *to, const uint8_t *from, size_t length, const uint8_t *key) {
  uint64_t wide, word;
  size_t i = 0;
  for (int k = 0; k < 8; k++) ((uint8_t *)&wide)[k] = key[k & 3];
  for (; i + 8 <= length; i += 8) {
    memcpy(&word, from + i, 8);
    word ^= wide;
    memcpy(to + i, &word, 8);
  }
  for (; i < length; i++) to[i] = from[i] ^ key[i & 3];
}

static void frames_to_lines(side *s) {
  for (;;) {
    uint8_t *at = s->in.bytes + s->in.at;
    size_t left = s->in.length - s->in.at;
    if (left < 6) return;
    uint64_t length = at[1] & 0x7f, big;
    size_t header = length < 126 ? 6 : length == 126 ? 8 : 14;
    if (left < header) return;
    if (header == 14) memcpy(&big, at + 2, 8);
    length = header == 6 ? length : header == 8 ? (uint64_t)(at[2] << 8 | at[3]) : be64toh(big);
    if (left < header + length) return;
    s->in.at += header + (size_t)length;
    if ((at[0] & 15) == 8) return end(s);
    if ((at[0] & 15) > 2) continue;
    uint8_t *to = room(&s->peer->out, (size_t)length + 1);
    unmask(to, at + header, (size_t)length, at + header - 4);
    s->peer->out.length += (size_t)length;
    if (at[0] & 0x80) s->peer->out.bytes[s->peer->out.length++] = '\n';
  }
}

static void shake_hands(side *s) {
  room(&s->in, 1)[0] = 0;
  char *stop = strstr((char *)s->in.bytes, "\r\n\r\n");
  char *key = strcasestr((char *)s->in.bytes, "sec-websocket-key: ");
  if (!stop) return;
  if (!key) return end(s);
  char accept[29];
  accept_key(key + 19, accept);
  uint8_t *at = room(&s->out, 256);
  s->out.length += (size_t)sprintf((char *)at,
                                   "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                   "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                                   accept);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)upstream_port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) return end(s);
  s->peer = add(fd, false);
  s->peer->peer = s;
  s->open = true;
  s->in.at = (size_t)(stop + 4 - (char *)s->in.bytes);
  flush(s);
}

static void take(side *s) {
  ssize_t n = read(s->fd, room(&s->in, READ_BYTES), READ_BYTES);
  if (n < 0 && errno == EAGAIN) return;
  if (n <= 0) return end(s);
  s->in.length += (size_t)n;
  if (!s->open) shake_hands(s);
  if (s->closed || !s->open) return;
  if (s->client) frames_to_lines(s);
  else lines_to_frames(s, (size_t)n);
  if (s->closed) return;
  if (s->in.at == s->in.length) s->in.at = s->in.length = 0;
  flush(s->peer);
}

static void accept_all(int listener) {
  for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) watch(add(fd, true));
}

int main(int count, char **words) {
  if (count < 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  upstream_port = atoi(words[2]);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  epoll = epoll_create1(0);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[1]))};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) return 1;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int n = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < n; i++) {
      side *s = events[i].data.ptr;
      if (!s) accept_all(listener);
      else if (!s->closed && events[i].events & EPOLLOUT) flush(s);
      if (s && !s->closed && events[i].events & ~(uint32_t)EPOLLOUT) take(s);
    }
    while (dead_count) {
      side *s = dead[--dead_count];
      free(s->in.bytes);
      free(s->out.bytes);
      free(s);
    }
  }
}
