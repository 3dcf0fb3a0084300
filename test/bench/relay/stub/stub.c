// An app-server that only answers the handshake and lends its pipes to the load process. Usage: stub SOCKET
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_BYTES 65536

// Answers every request; the bridge needs no more to call it ready.
static void answer(const char *line) {
  char text[256];
  const char *id = strstr(line, "\"id\":");
  if (!id || !strstr(line, "\"method\":")) return;
  int length = snprintf(text, sizeof text, "{\"id\":%llu,\"result\":{\"userAgent\":\"bench\",\"data\":[]}}\n",
                        strtoull(id + 5, NULL, 10));
  if (write(1, text, (size_t)length) != length) _exit(1);
}

static void take(void) {
  static char line[LINE_BYTES];
  static size_t used;
  ssize_t n = read(0, line + used, sizeof line - 1 - used);
  if (n == 0) _exit(0);
  if (n < 0) {
    if (errno == EAGAIN) return;
    _exit(1);
  }
  used += (size_t)n;
  line[used] = 0;
  char *at = line;
  for (char *end; (end = strchr(at, '\n')); at = end + 1) {
    *end = 0;
    answer(at);
  }
  used -= (size_t)(at - line);
  memmove(line, at, used);
  // The middle of a line that the load left behind.
  if (used == sizeof line - 1) used = 0;
}

static void lend(int link) {
  char byte = 0, control[CMSG_SPACE(2 * sizeof(int))] = {0};
  int pipes[2] = {0, 1};
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof pipes);
  memcpy(CMSG_DATA(header), pipes, sizeof pipes);
  // Ours again when the load has gone.
  if (sendmsg(link, &message, 0) > 0 && read(link, &byte, 1) < 0) perror("link");
  close(link);
}

int main(int count, char **words) {
  if (count < 2) return 2;
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  snprintf(at.sun_path, sizeof at.sun_path, "%s", words[1]);
  unlink(at.sun_path);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4)) return 1;
  for (;;) {
    struct pollfd wait[2] = {{.fd = 0, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    if (poll(wait, 2, -1) < 0) return 1;
    if (wait[1].revents & POLLIN) {
      int link = accept(listener, NULL, NULL);
      if (link >= 0) lend(link);
    } else if (wait[0].revents) {
      take();
    }
  }
}
