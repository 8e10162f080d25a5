/*
 * The load of `bench mesh`: one publisher and its subscribers in one thread, for
 * every system the same. C, because a generator must not be slower than what it
 * measures: here it counts some 20 million messages a second.
 *
 *   fan_out PROTOCOL PORT SUBSCRIBERS WINDOW WARM_UP_MS MEASURE_MS PID
 *
 * The publisher is at most WINDOW messages ahead of the subscriber that has the
 * fewest, and sends as many in one write as that allows. Every message's text is
 * 100 bytes: its number first, then the marker by which messages are counted at
 * its end. Each subscriber must get each message, whole and in order; one that
 * does not is an error. Prints one object of JSON. PID is the server's: its time
 * on the processor and its memory are read where the measuring begins and ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
  TEXT_BYTES = 100,
  NUMBER_DIGITS = 10,
  /* Nothing that any of the systems adds to a message has it. */
  MARKER = '|',
  SUBSCRIBERS_MAX = 10000,
  /* Above the window, and a power of two. */
  RING = 1024,
  WIRE_BYTES_MAX = 512,
  READ_BYTES = 1 << 18,
  /* Connections that are being opened at a time: ngircd's backlog is 10. */
  OPENING_MAX = 8,
  CARRY_BYTES = 16,
  EVENTS_MAX = 1024,
  /* Of how many deliveries one has its time taken; prime, so that it is another
     subscriber and another place in the batch each time. */
  SAMPLE_EVERY = 61,
  SAMPLES_MAX = 4000000,
  STALL_MS = 5000,
};

/* What one says to take part, and what shows that one does. */
struct protocol {
  const char *name;
  const char *hello, *heard;
  /* Said when `heard` came; NULL: that was all. */
  const char *hello2, *heard2;
  const char *before, *after;
};

static const struct protocol PROTOCOLS[] = {
  {"skein", "{\"type\":\"login\",\"username\":\"s%u\"}\n", "{\"type\":\"system\"",
   NULL, NULL, "{\"type\":\"msg\",\"text\":\"", "\"}\n"},
  {"irc", "NICK s%u\r\nUSER s 0 * :s\r\n", " 001 ",
   "JOIN #bench\r\n", " 366 ", "PRIVMSG #bench :", "\r\n"},
  {"nats", "CONNECT {\"verbose\":false,\"pedantic\":false}\r\nSUB bench 1\r\nPING\r\n",
   "PONG", NULL, NULL, "PUB bench 100\r\n", "\r\n"},
  /* Packets of their own form: see `say_hello` and `encode`. */
  {"mqtt", NULL, NULL, NULL, NULL, NULL, NULL},
};
/* SUBACK of packet 1 for one topic with QoS 0. */
static const char MQTT_SUBSCRIBED[] = {(char)0x90, 3, 0, 1, 0};
static const char MQTT_CONNECTED[] = {0x20, 2, 0, 0};

struct client {
  int fd;
  /* 0: nothing heard yet; 1: `heard`; 2: takes part. */
  int stage;
  uint32_t received;
  char carry[CARRY_BYTES];
};

static const struct protocol *protocol;
static struct sockaddr_in server;
static struct client clients[SUBSCRIBERS_MAX + 1];
static uint32_t subscriber_count, window;
static struct client *publisher;
static int epoll;

static uint64_t sent_ns[RING];
static char numbers[RING][NUMBER_DIGITS + 1];
/* By how many subscribers each message under way was received. */
static uint32_t arrivals[RING];
static uint32_t published, slowest;
static uint64_t delivered;

static char out[RING * WIRE_BYTES_MAX];
static size_t out_from, out_to;

static uint32_t samples_us[SAMPLES_MAX];
static uint32_t sample_count;
static int is_measuring;

static void fail(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vfprintf(stderr, format, args);
  va_end(args);
  fputc('\n', stderr);
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Opening */

static int is_subscriber(const struct client *client) { return client != publisher; }

static void say(struct client *client, const char *bytes, size_t length) {
  ssize_t written = write(client->fd, bytes, length);
  if (written != (ssize_t)length) fail("cannot write %zu bytes: %s", length, strerror(errno));
}

static void say_hello(struct client *client, unsigned number) {
  char bytes[256];
  if (strcmp(protocol->name, "mqtt") != 0) {
    int length = snprintf(bytes, sizeof bytes, protocol->hello, number);
    say(client, bytes, (size_t)length);
    return;
  }
  char id[16];
  int id_length = snprintf(id, sizeof id, "s%u", number);
  /* CONNECT: MQTT 3.1.1, clean session, no keepalive. */
  const char head[] = {0x10, (char)(12 + id_length), 0, 4, 'M', 'Q', 'T', 'T',
                       4, 2, 0, 0, 0, (char)id_length};
  memcpy(bytes, head, sizeof head);
  memcpy(bytes + sizeof head, id, (size_t)id_length);
  size_t length = sizeof head + (size_t)id_length;
  if (is_subscriber(client)) {
    const char subscribe[] = {(char)0x82, 10, 0, 1, 0, 5, 'b', 'e', 'n', 'c', 'h', 0};
    memcpy(bytes + length, subscribe, sizeof subscribe);
    length += sizeof subscribe;
  }
  say(client, bytes, length);
}

static const char *awaited(const struct client *client, size_t *length) {
  if (strcmp(protocol->name, "mqtt") == 0) {
    const int is_last = is_subscriber(client);
    *length = is_last ? sizeof MQTT_SUBSCRIBED : sizeof MQTT_CONNECTED;
    return is_last ? MQTT_SUBSCRIBED : MQTT_CONNECTED;
  }
  const char *text = client->stage == 0 ? protocol->heard : protocol->heard2;
  *length = strlen(text);
  return text;
}

/* Looks for what shows that `client` takes part, also across two reads. */
static void open_further(struct client *client, char *bytes, size_t length) {
  char *from = bytes - CARRY_BYTES;
  memcpy(from, client->carry, CARRY_BYTES);
  size_t left = CARRY_BYTES + length;
  while (client->stage < 2) {
    size_t wanted;
    const char *text = awaited(client, &wanted);
    char *found = memmem(from, left, text, wanted);
    if (found == NULL) break;
    left -= (size_t)(found - from) + wanted;
    from = found + wanted;
    client->stage += 1;
    if (client->stage == 1 && protocol->hello2 == NULL) client->stage = 2;
    if (client->stage == 1) say(client, protocol->hello2, strlen(protocol->hello2));
  }
  memcpy(client->carry, bytes + length - CARRY_BYTES, CARRY_BYTES);
}

static void open_client(struct client *client, unsigned number) {
  client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (client->fd < 0) fail("cannot open socket %u: %s", number, strerror(errno));
  if (connect(client->fd, (struct sockaddr *)&server, sizeof server) != 0)
    fail("cannot connect %u: %s", number, strerror(errno));
  int on = 1;
  setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(client->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
  epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
  say_hello(client, number);
}

/* Publishing */

static size_t encode(char *to, uint32_t number) {
  char *at = to;
  if (strcmp(protocol->name, "mqtt") == 0) {
    const char head[] = {0x30, 7 + TEXT_BYTES, 0, 5, 'b', 'e', 'n', 'c', 'h'};
    memcpy(at, head, sizeof head);
    at += sizeof head;
  } else {
    at = stpcpy(at, protocol->before);
  }
  memcpy(at, numbers[number % RING], NUMBER_DIGITS);
  memset(at + NUMBER_DIGITS, 'x', TEXT_BYTES - NUMBER_DIGITS - 1);
  at[TEXT_BYTES - 1] = MARKER;
  at += TEXT_BYTES;
  if (protocol->after != NULL) at = stpcpy(at, protocol->after);
  return (size_t)(at - to);
}

static void flush_out(void) {
  if (out_from == out_to) return;
  ssize_t written = write(publisher->fd, out + out_from, out_to - out_from);
  if (written < 0 && errno != EAGAIN) fail("cannot publish: %s", strerror(errno));
  if (written > 0) out_from += (size_t)written;
  const int is_empty = out_from == out_to;
  if (is_empty) out_from = out_to = 0;
  struct epoll_event event = {
    .events = is_empty ? EPOLLIN : EPOLLIN | EPOLLOUT, .data.ptr = publisher};
  static uint32_t events = EPOLLIN;
  if (event.events == events) return;
  events = event.events;
  epoll_ctl(epoll, EPOLL_CTL_MOD, publisher->fd, &event);
}

static void publish(void) {
  /* What a server has not taken is not joined by more: it is under way. */
  if (out_from == out_to && published - slowest < window) {
    const uint64_t now = now_ns();
    while (published - slowest < window) {
      snprintf(numbers[published % RING], NUMBER_DIGITS + 1, "%010u", published);
      sent_ns[published % RING] = now;
      out_to += encode(out + out_to, published);
      published += 1;
    }
  }
  flush_out();
}

/* Receiving */

static void receive(struct client *client, const char *bytes, size_t length) {
  const uint64_t now = now_ns();
  const char *at = bytes, *end = bytes + length;
  while ((at = memchr(at, MARKER, (size_t)(end - at))) != NULL) {
    const uint32_t number = client->received++;
    const long subscriber = client - clients;
    if (number >= published) fail("subscriber %ld got message %u twice", subscriber, number - 1);
    const char *text = at - (TEXT_BYTES - 1);
    /* One that a read has cut is not looked at, only counted. */
    if (text >= bytes && memcmp(text, numbers[number % RING], NUMBER_DIGITS) != 0)
      fail("subscriber %ld got message %.10s, wanted %u", subscriber, text, number);
    if (is_measuring && delivered % SAMPLE_EVERY == 0 && sample_count < SAMPLES_MAX)
      samples_us[sample_count++] = (uint32_t)((now - sent_ns[number % RING]) / 1000);
    delivered += 1;
    arrivals[number % RING] += 1;
    at += 1;
  }
  while (slowest < published && arrivals[slowest % RING] == subscriber_count) {
    arrivals[slowest % RING] = 0;
    slowest += 1;
  }
}

/* One look at all sockets. */
static void turn(void) {
  static struct epoll_event events[EVENTS_MAX];
  static char buffer[CARRY_BYTES + READ_BYTES];
  static uint64_t progress, progress_ns;
  char *bytes = buffer + CARRY_BYTES;
  const int count = epoll_wait(epoll, events, EVENTS_MAX, 100);
  for (int index = 0; index < count; index += 1) {
    struct client *client = events[index].data.ptr;
    if ((events[index].events & ~(uint32_t)EPOLLOUT) == 0) continue;
    const ssize_t length = read(client->fd, bytes, READ_BYTES);
    if (length < 0 && errno == EAGAIN) continue;
    if (length <= 0)
      fail("the server closed connection %td%s%s", client - clients,
           length < 0 ? ": " : "", length < 0 ? strerror(errno) : "");
    progress += 1;
    if (client->stage < 2) open_further(client, bytes, (size_t)length);
    /* A system may echo to the publisher: that is not counted. */
    else if (is_subscriber(client)) receive(client, bytes, (size_t)length);
  }
  static uint64_t seen;
  const uint64_t now = now_ns();
  if (progress != seen || progress_ns == 0) {
    seen = progress;
    progress_ns = now;
  } else if (now - progress_ns > STALL_MS * 1000000ull) {
    fail("nothing came for %d ms: %u messages published, the slowest subscriber has %u",
         STALL_MS, published, slowest);
  }
}

/* What the server and this process used */

struct usage {
  double server_seconds, own_seconds;
};

static struct usage read_usage(int pid) {
  struct usage usage = {0, 0};
  struct rusage own;
  getrusage(RUSAGE_SELF, &own);
  usage.own_seconds = (double)(own.ru_utime.tv_sec + own.ru_stime.tv_sec) +
                      (double)(own.ru_utime.tv_usec + own.ru_stime.tv_usec) / 1e6;
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) fail("cannot read %s: %s", path, strerror(errno));
  const size_t length = fread(text, 1, sizeof text - 1, file);
  fclose(file);
  text[length] = 0;
  /* The name before it is in parentheses and may hold anything. */
  const char *fields = strrchr(text, ')');
  unsigned long user, system;
  if (fields == NULL ||
      sscanf(fields + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) != 2)
    fail("cannot make sense of %s", path);
  usage.server_seconds = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
  return usage;
}

static unsigned long read_memory_kib(int pid) {
  const char key[] = "VmRSS:";
  char path[64], line[256];
  snprintf(path, sizeof path, "/proc/%d/status", pid);
  FILE *file = fopen(path, "r");
  if (file == NULL) fail("cannot read %s: %s", path, strerror(errno));
  unsigned long kib = 0;
  while (fgets(line, sizeof line, file) != NULL)
    if (strncmp(line, key, strlen(key)) == 0) kib = strtoul(line + strlen(key), NULL, 10);
  fclose(file);
  return kib;
}

static int by_value(const void *a, const void *b) {
  const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

static uint32_t quantile_us(double share) {
  if (sample_count == 0) return 0;
  return samples_us[(uint32_t)((double)(sample_count - 1) * share)];
}

static unsigned long argument(const char *text, unsigned long min, unsigned long max) {
  char *end;
  const unsigned long value = strtoul(text, &end, 10);
  if (*text == 0 || *end != 0 || value < min || value > max)
    fail("found \"%s\", wanted %lu to %lu", text, min, max);
  return value;
}

int main(int count, char **args) {
  if (count != 8)
    fail("usage: fan_out PROTOCOL PORT SUBSCRIBERS WINDOW WARM_UP_MS MEASURE_MS PID");
  for (size_t index = 0; index < sizeof PROTOCOLS / sizeof *PROTOCOLS; index += 1)
    if (strcmp(PROTOCOLS[index].name, args[1]) == 0) protocol = &PROTOCOLS[index];
  if (protocol == NULL) fail("found protocol \"%s\", wanted skein, irc, nats or mqtt", args[1]);
  server.sin_family = AF_INET;
  server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server.sin_port = htons((uint16_t)argument(args[2], 1, 65535));
  subscriber_count = (uint32_t)argument(args[3], 1, SUBSCRIBERS_MAX);
  window = (uint32_t)argument(args[4], 1, RING / 2);
  const uint64_t warm_up_ns = argument(args[5], 0, 60000) * 1000000ull;
  const uint64_t measure_ns = argument(args[6], 1, 600000) * 1000000ull;
  const int pid = (int)argument(args[7], 1, 1ul << 30);

  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  epoll = epoll_create1(EPOLL_CLOEXEC);
  publisher = &clients[subscriber_count];
  const uint64_t opened_ns = now_ns();
  uint32_t open = 0, ready = 0;
  while (ready <= subscriber_count) {
    while (open <= subscriber_count && open - ready < OPENING_MAX) {
      open_client(&clients[open], open);
      open += 1;
    }
    turn();
    while (ready < open && clients[ready].stage == 2) ready += 1;
  }
  const uint64_t start_ns = now_ns();
  const uint64_t from_ns = start_ns + warm_up_ns, to_ns = from_ns + measure_ns;
  struct usage usage_from = {0, 0};
  uint64_t delivered_from = 0, began_ns = 0;
  uint32_t published_from = 0;
  for (;;) {
    const uint64_t now = now_ns();
    if (!is_measuring && now >= from_ns) {
      is_measuring = 1;
      began_ns = now;
      delivered_from = delivered;
      published_from = published;
      usage_from = read_usage(pid);
    }
    if (now >= to_ns) break;
    publish();
    turn();
  }
  const uint64_t ended_ns = now_ns();
  const struct usage usage_to = read_usage(pid);
  const uint64_t delivered_in = delivered - delivered_from;
  const uint32_t published_in = published - published_from;
  const uint64_t memory_bytes = 1024ull * read_memory_kib(pid);
  is_measuring = 0;
  /* What is under way must arrive too. */
  while (slowest < published) {
    flush_out();
    turn();
  }
  qsort(samples_us, sample_count, sizeof *samples_us, by_value);
  printf("{\"seconds\":%.6f,\"delivered\":%llu,\"published\":%u,\"p50Us\":%u,\"p99Us\":%u,"
         "\"maxUs\":%u,\"samples\":%u,\"serverSeconds\":%.2f,\"loadSeconds\":%.3f,"
         "\"memoryBytes\":%llu,\"openMs\":%.1f}\n",
         (double)(ended_ns - began_ns) / 1e9, (unsigned long long)delivered_in, published_in,
         quantile_us(0.5), quantile_us(0.99), quantile_us(1), sample_count,
         usage_to.server_seconds - usage_from.server_seconds,
         usage_to.own_seconds - usage_from.own_seconds,
         (unsigned long long)memory_bytes, (double)(start_ns - opened_ns) / 1e6);
  return 0;
}
