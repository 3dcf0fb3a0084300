// Framing: lines end with byte 10; WebSocket frames as RFC 6455 has them.
#include "load.h"
#include <endian.h>

enum { CONTINUATION = 0, TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };
static const uint8_t KEY[4] = {0x37, 0xfa, 0x21, 0x3d};

size_t frame_header(uint8_t *at, size_t length, bool masked) {
  size_t used = 2;
  at[0] = 0x80 | TEXT;
  if (length < 126) {
    at[1] = (uint8_t)length;
  } else if (length < 65536) {
    at[1] = 126;
    at[2] = (uint8_t)(length >> 8);
    at[3] = (uint8_t)length;
    used = 4;
  } else {
    uint64_t big = htobe64(length);
    at[1] = 127;
    memcpy(at + 2, &big, 8);
    used = 10;
  }
  if (!masked) return used;
  at[1] |= 0x80;
  memcpy(at + used, KEY, 4);
  return used + 4;
}

static void mask(uint8_t *bytes, size_t length) {
  for (size_t i = 0; i < length; i++) bytes[i] ^= KEY[i & 3];
}

// Sends a line (given without its newline) in the wire's own framing.
void send_message(conn *c, const uint8_t *text, size_t length) {
  if (!c->websocket) {
    send_bytes(c, text, length);
    send_bytes(c, "\n", 1);
    return;
  }
  static uint8_t *frame;
  static size_t capacity;
  if (capacity < length + 14) frame = realloc(frame, capacity = length + 14);
  if (!frame) fail("no memory for a frame");
  size_t header = frame_header(frame, length, true);
  memcpy(frame + header, text, length);
  mask(frame + header, length);
  send_bytes(c, frame, header + length);
}

static void send_control(conn *c, uint8_t opcode, const uint8_t *payload, size_t length) {
  uint8_t frame[140];
  size_t header = frame_header(frame, length, true);
  frame[0] = 0x80 | opcode;
  memcpy(frame + header, payload, length);
  mask(frame + header, length);
  send_bytes(c, frame, header + length);
}

void send_handshake(conn *c) {
  char text[4096];
  int length = snprintf(text, sizeof text,
                        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                        cfg.path, cfg.front_host, cfg.front_port, *cfg.auth ? "Authorization: Bearer " : "",
                        cfg.auth, *cfg.auth ? "\r\n" : "");
  if (length >= (int)sizeof text) fail("the handshake is too long");
  send_bytes(c, text, (size_t)length);
}

static void complete(conn *c) {
  c->pre[c->pre_length] = 0;
  if (c->client && c->websocket && c->opcode >= CLOSE) {
    if (c->opcode == PING) send_control(c, PONG, c->pre, (size_t)c->pre_length);
    if (c->opcode == CLOSE) {
      fprintf(stderr, "closed by the relay: %.*s\n", c->pre_length > 2 ? c->pre_length - 2 : 0, c->pre + 2);
      drop(c);
    }
  } else {
    c->messages++;
    if (c->client) hooks.client_message(c);
    else hooks.upstream_message(c);
  }
  c->pre_length = 0;
  c->message_length = 0;
}

static void keep(conn *c, const uint8_t *bytes, size_t length) {
  size_t room = (size_t)(PRE - c->pre_length);
  size_t part = length < room ? length : room;
  if (part) memcpy(c->pre + c->pre_length, bytes, part);
  c->pre_length += (int)part;
  c->message_length += length;
}

static void take_lines(conn *c, uint8_t *at, size_t left) {
  while (left && !c->closed) {
    uint8_t *end = memchr(at, '\n', left);
    size_t part = end ? (size_t)(end - at) : left;
    keep(c, at, part);
    if (!end) return;
    complete(c);
    at = end + 1;
    left -= part + 1;
  }
}

static size_t header_length(const uint8_t *head) {
  uint8_t length = head[1] & 0x7f;
  return length < 126 ? 2 : length == 126 ? 4 : 10;
}

static void open_frame(conn *c) {
  uint8_t length = c->head[1] & 0x7f;
  uint64_t big;
  memcpy(&big, c->head + 2, 8);
  c->left = length < 126 ? length : length == 126 ? (uint64_t)(c->head[2] << 8 | c->head[3]) : be64toh(big);
  c->final = c->head[0] & 0x80;
  if ((c->head[0] & 15) != CONTINUATION) c->opcode = c->head[0] & 15;
  if (c->head[1] & 0x80 || c->head[0] & 0x70) fail("a server frame is masked or has reserved bits");
  c->in_frame = true;
  c->head_length = 0;
}

static void take_frames(conn *c, uint8_t *at, size_t left) {
  while ((left || (c->in_frame && !c->left)) && !c->closed) {
    if (!c->in_frame) {
      c->head[c->head_length++] = *at++;
      left--;
      if (c->head_length >= 2 && (size_t)c->head_length == header_length(c->head)) open_frame(c);
      continue;
    }
    size_t part = c->left < left ? (size_t)c->left : left;
    keep(c, at, part);
    at += part;
    left -= part;
    c->left -= part;
    if (c->left) return;
    c->in_frame = false;
    if (c->final) complete(c);
  }
}

// Reads the answer to the handshake; what follows it in the same chunk are frames.
static void take_handshake(conn *c, uint8_t *bytes, size_t length) {
  static const char end[] = "\r\n\r\n";
  for (size_t i = 0; i < length; i++) {
    if (c->pre_length < PRE) c->pre[c->pre_length++] = bytes[i];
    c->http_matched = bytes[i] == (uint8_t)end[c->http_matched] ? c->http_matched + 1 : bytes[i] == '\r';
    if (c->http_matched < 4) continue;
    if (c->pre_length < 12 || memcmp(c->pre + 9, "101", 3)) fail("the handshake was refused: %.60s", c->pre);
    c->ready = true;
    clients_ready++;
    c->pre_length = 0;
    if (hooks.client_ready) hooks.client_ready(c);
    take_frames(c, bytes + i + 1, length - i - 1);
    return;
  }
}

void take_bytes(conn *c, uint8_t *bytes, size_t length) {
  c->bytes_in += length;
  if (!c->client || !c->websocket) take_lines(c, bytes, length);
  else if (!c->ready) take_handshake(c, bytes, length);
  else take_frames(c, bytes, length);
}

uint64_t number_after(const conn *c, const char *key) {
  const char *at = strstr((const char *)c->pre, key);
  return at ? strtoull(at + strlen(key), NULL, 10) : UINT64_MAX;
}

void set_digits(uint8_t *at, int digits, uint64_t value) {
  for (int i = digits - 1; i >= 0; i--, value /= 10) at[i] = (uint8_t)('0' + value % 10);
}
