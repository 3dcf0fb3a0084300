#ifndef FLOOR_H
#define FLOOR_H
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// The value of Sec-WebSocket-Accept for a key of 24 characters.
void accept_key(const char *key, char target[29]);
#endif
