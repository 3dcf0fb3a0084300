// The lines themselves: valid JSON of exactly the asked size, with number and time stamp at known places.
#include "load.h"

#define NUMBER_DIGITS 7
#define TIME_DIGITS 16
#define BLOCK_BYTES (256 * 1024)

static line build(size_t size, const char *before, const char *number_key, const char *time_key, const char *tail) {
  line l = {.bytes = malloc(size + 1), .length = size};
  if (!l.bytes) fail("no memory for a line");
  size_t used = strlen(before), end = strlen(tail);
  if (used + end > size) fail("a line of %zu bytes is too short", size);
  memcpy(l.bytes, before, used);
  memset(l.bytes + used, 'x', size - used - end);
  memcpy(l.bytes + size - end, tail, end);
  l.bytes[size] = '\n';
  l.number_at = (size_t)(strstr(before, number_key) - before) + strlen(number_key);
  l.time_at = (size_t)(strstr(before, time_key) - before) + strlen(time_key);
  return l;
}

// One text delta, as an app-server streams them.
line notification(size_t size) {
  return build(size,
               "{\"method\":\"item/agentMessage/delta\",\"params\":{\"threadId\":\"t1\",\"itemId\":\"m1\","
               "\"n\":\"0000000\",\"t\":\"0000000000000000\",\"delta\":\"",
               "\"n\":\"", "\"t\":\"", "\"}}");
}

line request(size_t size) {
  return build(size, "{\"id\":1000000,\"method\":\"bench/echo\",\"params\":{\"t\":\"0000000000000000\",\"pad\":\"",
               "\"id\":", "\"t\":\"", "\"}}");
}

block make_block(size_t size, bool masked) {
  line l = notification(size);
  uint8_t header[14];
  size_t count = BLOCK_BYTES / size ? BLOCK_BYTES / size : 1;
  size_t extra = masked ? frame_header(header, size, true) : 1;
  block b = {.bytes = malloc(count * (size + extra)), .length = count * (size + extra)};
  if (!b.bytes) fail("no memory for a block");
  for (size_t i = 0; i < count; i++) {
    uint8_t *at = b.bytes + i * (size + extra);
    set_digits(l.bytes + l.number_at, NUMBER_DIGITS, i);
    if (!masked) {
      memcpy(at, l.bytes, size + 1);
      continue;
    }
    memcpy(at, header, extra);
    for (size_t k = 0; k < size; k++) at[extra + k] = l.bytes[k] ^ header[extra - 4 + (k & 3)];
  }
  free(l.bytes);
  return b;
}

void send_line(conn *c, line *l, uint64_t number, uint64_t now) {
  set_digits(l->bytes + l->number_at, NUMBER_DIGITS, number);
  set_digits(l->bytes + l->time_at, TIME_DIGITS, now);
  if (c->websocket) send_message(c, l->bytes, l->length);
  else send_bytes(c, l->bytes, l->length + 1);
}

// Answers a request with a line of its own size that carries its id and time stamp.
void answer(conn *c) {
  static uint8_t *text;
  static size_t capacity;
  size_t size = (size_t)c->message_length;
  if (capacity < size + 128) text = realloc(text, capacity = size + 128);
  if (!text) fail("no memory for an answer");
  uint64_t id = number_after(c, "\"id\":"), time = number_after(c, "\"t\":\"");
  int used = sprintf((char *)text, "{\"id\":%llu,\"result\":{\"t\":\"%016llu\",\"pad\":\"", (unsigned long long)id,
                     (unsigned long long)(time == UINT64_MAX ? 0 : time));
  size_t pad = size > (size_t)used + 3 ? size - (size_t)used - 3 : 0;
  memset(text + used, 'y', pad);
  memcpy(text + used + pad, "\"}}\n", 4);
  send_bytes(c, text, (size_t)used + pad + 4);
}
