/*
 * Keeps N questions in flight at a DNS server over UDP for some seconds and prints JSON: answers a second, latency in
 * microseconds (median, 99th percentile), and how many questions were lost (no answer in 1 s) or answered wrongly.
 * One socket and one outstanding question each; batches by epoll. Usage: dnsLoad ADDRESS PORT N SECONDS NAME...
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FLIGHT = 1024, MAX_SAMPLES = 4 << 20 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static struct { int fd; uint16_t id; double sent; } flight[MAX_FLIGHT];
static unsigned char packets[16][300];
static int lengths[16], count, turn;
static float *samples;
static long answered, lost, wrong;

static void ask(int i) {
  int which = turn++ % count;
  unsigned char *p = packets[which];
  flight[i].id++;
  p[0] = flight[i].id >> 8;
  p[1] = flight[i].id & 255;
  flight[i].sent = now();
  send(flight[i].fd, p, lengths[which], 0);
}

static int compare(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc < 6) return 2;
  struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  inet_pton(AF_INET, argv[1], &server.sin_addr);
  int inFlight = atoi(argv[3]);
  double seconds = atof(argv[4]);
  if (inFlight < 1 || inFlight > MAX_FLIGHT) return 2;
  for (int i = 5; i < argc && count < 16; i++, count++) {
    unsigned char *p = packets[count];
    memcpy(p, "\0\0\1\0\0\1\0\0\0\0\0\0", 12);
    p[12] = strlen(argv[i]);
    memcpy(p + 13, argv[i], p[12]);
    memcpy(p + 13 + p[12], "\0\0\1\0\1", 5);
    lengths[count] = 13 + p[12] + 5;
  }
  samples = malloc(MAX_SAMPLES * sizeof *samples);
  int ep = epoll_create1(0);
  for (int i = 0; i < inFlight; i++) {
    flight[i].fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    if (connect(flight[i].fd, (struct sockaddr *)&server, sizeof server) != 0) return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    epoll_ctl(ep, EPOLL_CTL_ADD, flight[i].fd, &event);
  }
  double start = now(), end = start + seconds, swept = start;
  for (int i = 0; i < inFlight; i++) ask(i);
  while (now() < end) {
    struct epoll_event events[MAX_FLIGHT];
    int n = epoll_wait(ep, events, inFlight, 100);
    for (int k = 0; k < n; k++) {
      int i = events[k].data.u32;
      unsigned char answer[600];
      int size = recv(flight[i].fd, answer, sizeof answer, 0);
      if (size < 12 || (answer[0] << 8 | answer[1]) != flight[i].id) continue;
      if ((answer[3] & 15) != 0 || answer[7] != 1) wrong++;
      if (answered < MAX_SAMPLES) samples[answered] = (now() - flight[i].sent) * 1e6;
      answered++;
      ask(i);
    }
    if (now() - swept < 0.2) continue;
    swept = now();
    for (int i = 0; i < inFlight; i++) {
      if (swept - flight[i].sent < 1) continue;
      lost++;
      ask(i);
    }
  }
  double took = now() - start;
  long kept = answered < MAX_SAMPLES ? answered : MAX_SAMPLES;
  qsort(samples, kept, sizeof *samples, compare);
  printf("{\"qps\":%.0f,\"p50\":%.1f,\"p99\":%.1f,\"lost\":%ld,\"wrong\":%ld}\n", answered / took,
         kept ? samples[kept / 2] : 0, kept ? samples[kept * 99 / 100] : 0, lost, wrong);
  return 0;
}
