/*
 * Traffic for bench/path.ts and bench/ports.ts. Both ends are pinned to one processor, the last that this process may
 * use: unpinned, the scheduler decides whether a round trip takes 6 or 60 microseconds. Usage:
 *
 *   pathLoad serve PORT                          echoes what comes by TCP and UDP, until killed; prints a line when ready
 *   pathLoad tcp ADDRESS PORT SECONDS            round trips of one byte on one connection
 *   pathLoad udp ADDRESS PORT SECONDS            round trips of one byte between two sockets
 *   pathLoad connect ADDRESS PORT SECONDS        how long connect() takes, one after the other
 *   pathLoad rate ADDRESS PORT SECONDS IN_FLIGHT connections with one byte there and back, several at once
 *
 * Prints JSON: how many a second, and microseconds of each (a quarter is faster, median, 99th percentile). Clients close
 * with a reset, so that no port waits in TIME_WAIT. Anything that fails or hangs for 2 s ends the program with status 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 4096, MAX_SAMPLES = 1 << 20, MAX_FLIGHT = 256 };

static float samples[MAX_SAMPLES];
static long count;
static struct sockaddr_in peer;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void pin(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) fail("sched_getaffinity");
  int cpu = CPU_SETSIZE - 1;
  while (cpu > 0 && !CPU_ISSET(cpu, &set)) cpu--;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) fail("sched_setaffinity");
}

static void note(double started) {
  if (count < MAX_SAMPLES) samples[count] = (now() - started) * 1e6;
  count++;
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static void report(double seconds) {
  long kept = count < MAX_SAMPLES ? count : MAX_SAMPLES;
  qsort(samples, kept, sizeof *samples, compare);
  if (kept == 0) samples[0] = 0;
  printf("{\"perSecond\":%.0f,\"p25\":%.2f,\"p50\":%.2f,\"p99\":%.2f}\n", count / seconds, samples[kept / 4],
         samples[kept / 2], samples[kept * 99 / 100]);
}

static int opened(int type) {
  int fd = socket(AF_INET, type, 0), on = 1;
  if (fd < 0) fail("socket");
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  struct timeval limit = {.tv_sec = 2};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if ((type & 15) == SOCK_STREAM) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int connected(int type) {
  int fd = opened(type);
  if (connect(fd, (struct sockaddr *)&peer, sizeof peer) != 0) fail("connect");
  return fd;
}

static void roundTrips(int type, double end) {
  int fd = connected(type);
  char byte = 'x';
  while (now() < end) {
    double started = now();
    if (send(fd, &byte, 1, 0) != 1) fail("send");
    if (recv(fd, &byte, 1, 0) != 1) fail("recv");
    note(started);
  }
}

static void connects(double end) {
  while (now() < end) {
    int fd = opened(SOCK_STREAM);
    double started = now();
    if (connect(fd, (struct sockaddr *)&peer, sizeof peer) != 0) fail("connect");
    note(started);
    close(fd);
  }
}

static struct { int fd; int sent; double started; } flight[MAX_FLIGHT];

static void begin(int ep, int i) {
  flight[i].fd = opened(SOCK_STREAM | SOCK_NONBLOCK);
  flight[i].sent = 0;
  flight[i].started = now();
  if (connect(flight[i].fd, (struct sockaddr *)&peer, sizeof peer) != 0 && errno != EINPROGRESS) fail("connect");
  struct epoll_event event = {.events = EPOLLOUT, .data.u32 = i};
  epoll_ctl(ep, EPOLL_CTL_ADD, flight[i].fd, &event);
}

static void rate(int inFlight, double end) {
  int ep = epoll_create1(0);
  if (inFlight < 1 || inFlight > MAX_FLIGHT) exit(2);
  for (int i = 0; i < inFlight; i++) begin(ep, i);
  while (now() < end) {
    struct epoll_event events[MAX_FLIGHT];
    int n = epoll_wait(ep, events, inFlight, 2000);
    if (n <= 0) fail("no answer");
    for (int k = 0; k < n; k++) {
      int i = events[k].data.u32;
      char byte = 'x';
      if (!flight[i].sent) {
        if (send(flight[i].fd, &byte, 1, 0) != 1) fail("send");
        flight[i].sent = 1;
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        epoll_ctl(ep, EPOLL_CTL_MOD, flight[i].fd, &event);
        continue;
      }
      if (recv(flight[i].fd, &byte, 1, 0) != 1) fail("recv");
      note(flight[i].started);
      close(flight[i].fd);
      begin(ep, i);
    }
  }
}

static void serve(int port) {
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
  int ep = epoll_create1(0), on = 1;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&own, sizeof own) != 0 || listen(listener, 4096) != 0) fail("listen");
  if (bind(datagrams, (struct sockaddr *)&own, sizeof own) != 0) fail("bind");
  for (int i = 0; i < 2; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = i ? datagrams : listener};
    epoll_ctl(ep, EPOLL_CTL_ADD, event.data.fd, &event);
  }
  puts("ready");
  fflush(stdout);
  for (;;) {
    struct epoll_event events[64];
    int n = epoll_wait(ep, events, 64, -1);
    for (int k = 0; k < n; k++) {
      int fd = events[k].data.fd, client;
      char bytes[2048];
      if (fd == listener) {
        while ((client = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0) {
          setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          struct epoll_event event = {.events = EPOLLIN, .data.fd = client};
          epoll_ctl(ep, EPOLL_CTL_ADD, client, &event);
        }
      } else if (fd == datagrams) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t size = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length);
        if (size >= 0) sendto(fd, bytes, size, 0, (struct sockaddr *)&from, length);
      } else {
        ssize_t size = recv(fd, bytes, sizeof bytes, 0);
        if (size <= 0 || send(fd, bytes, size, MSG_NOSIGNAL) != size) close(fd);
      }
    }
  }
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  pin();
  if (strcmp(argv[1], "serve") == 0) serve(atoi(argv[2]));
  if (argc < 5) return 2;
  peer.sin_family = AF_INET;
  peer.sin_port = htons(atoi(argv[3]));
  if (inet_pton(AF_INET, argv[2], &peer.sin_addr) != 1) return 2;
  double start = now(), end = start + atof(argv[4]);
  if (strcmp(argv[1], "tcp") == 0) roundTrips(SOCK_STREAM, end);
  else if (strcmp(argv[1], "udp") == 0) roundTrips(SOCK_DGRAM, end);
  else if (strcmp(argv[1], "connect") == 0) connects(end);
  else if (strcmp(argv[1], "rate") == 0 && argc > 5) rate(atoi(argv[5]), end);
  else return 2;
  report(now() - start);
  return 0;
}
