/*
 * One of several processes that append lines of 150 bytes to PATH, each line
 * under a flock(2) of its own: PATH SECONDS START, where START is the time to
 * begin, in ms since 1970. Says "wrote LINES SECONDS" on standard error.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

static double now(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int count, char **args) {
  if (count != 4) return 2;
  int file = open(args[1], O_WRONLY | O_CREAT | O_APPEND, 0640);
  if (file < 0) { perror("open"); return 1; }
  double seconds = atof(args[2]), start = atof(args[3]) / 1000;
  while (now(CLOCK_REALTIME) < start) usleep(200);
  char line[151];
  double begin = now(CLOCK_MONOTONIC), end = begin;
  long lines = 0;
  do {
    int length = snprintf(line, sizeof line,
      "{\"seq\":%09ld,\"time\":\"2026-11-21T00:38:36.123Z\",\"server\":\"A\","
      "\"type\":\"msg\",\"from\":\"Dana\",\"text\":\"", lines);
    memset(line + length, 'x', 147 - length);
    memcpy(line + 147, "\"}\n", 3);
    if (flock(file, LOCK_EX) != 0) { perror("flock"); return 1; }
    if (write(file, line, 150) != 150) { perror("write"); return 1; }
    flock(file, LOCK_UN);
    lines += 1;
    end = now(CLOCK_MONOTONIC);
  } while (end - begin < seconds);
  fprintf(stderr, "wrote %ld %f\n", lines, end - begin);
  return 0;
}
