/*
 * The floor for bench/attach.ts: the same kernel objects (namespace with lo up, bind-mounted; veth pair with its peer
 * born inside, port flags and owner mark; address, default route; one set element), made by the fewest system calls
 * that we know of, without threads, checks or undo. For each line on stdin makes one endpoint and prints the
 * microseconds of its three parts. Expects bridge `bench0` and table `inet bench` with set `sources`.
 * Contract: rtnetlink(7), linux/if_link.h, linux/netfilter/nf_tables.h.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char bytes[4096];
static size_t at;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int check(int result, const char *what) {
  if (result < 0) fail(what);
  return result;
}

static void put(const void *data, size_t size) {
  memcpy(bytes + at, data, size);
  at += size;
  while (at % 4) bytes[at++] = 0;
}

/* Opens a header (message or attribute) and returns where; `shut` writes its length. */
static size_t openMessage(unsigned type, unsigned flags) {
  struct nlmsghdr header = {.nlmsg_type = type, .nlmsg_flags = NLM_F_REQUEST | flags};
  size_t start = at;
  put(&header, sizeof header);
  return start;
}

static size_t openAttribute(unsigned type) {
  struct nlattr header = {.nla_type = type};
  size_t start = at;
  put(&header, sizeof header);
  return start;
}

static void shutMessage(size_t start) { ((struct nlmsghdr *)(bytes + start))->nlmsg_len = at - start; }
static void shutAttribute(size_t start) { ((struct nlattr *)(bytes + start))->nla_len = at - start; }

static void attribute(unsigned type, const void *data, size_t size) {
  size_t start = openAttribute(type);
  memcpy(bytes + at, data, size);
  at += size;
  shutAttribute(start);
  while (at % 4) bytes[at++] = 0;
}

static void text(unsigned type, const char *value) { attribute(type, value, strlen(value) + 1); }
static void number(unsigned type, unsigned value) { attribute(type, &value, 4); }

static void linkHeader(int index, unsigned flags) {
  struct ifinfomsg header = {.ifi_index = index, .ifi_flags = flags, .ifi_change = flags};
  put(&header, sizeof header);
}

static int openSocket(int protocol) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  int fd = check(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol), "socket");
  check(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
  return fd;
}

/* Sends what was put together and takes `answers` acknowledgements. */
static void exchange(int fd, int answers) {
  static char reply[65536];
  check(send(fd, bytes, at, 0), "send");
  at = 0;
  while (answers > 0) {
    int size = check(recv(fd, reply, sizeof reply, 0), "recv");
    for (struct nlmsghdr *header = (void *)reply; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
      int error = -((struct nlmsgerr *)NLMSG_DATA(header))->error;
      if (error) fprintf(stderr, "floor: %s\n", strerror(error)), exit(1);
      answers--;
    }
  }
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

int main(void) {
  int home = check(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), "open home");
  int host = openSocket(NETLINK_ROUTE), filter = openSocket(NETLINK_NETFILTER);
  unsigned master = if_nametoindex("bench0");
  char line[64];
  for (int round = 0; fgets(line, sizeof line, stdin); round++) {
    char path[64], name[IFNAMSIZ];
    unsigned char mac[6] = {2, 0, 0, 1, round >> 8, round}, ip[4] = {10, 99, 128 + (round >> 8), round};
    unsigned char gateway[4] = {10, 99, 0, 1}, broadcast[4] = {10, 99, 255, 255};
    snprintf(path, sizeof path, "/run/netns/floor%d", round);
    snprintf(name, sizeof name, "floor%d", round);

    double start = now();
    close(check(open(path, O_CREAT | O_EXCL | O_RDONLY, 0444), "create"));
    check(unshare(CLONE_NEWNET), "unshare");
    check(mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL), "mount");
    int inside = openSocket(NETLINK_ROUTE);
    size_t message = openMessage(RTM_NEWLINK, NLM_F_ACK);
    linkHeader(1, IFF_UP);
    shutMessage(message);
    exchange(inside, 1);
    check(setns(home, CLONE_NEWNET), "setns");

    double made = now();
    int sandbox = check(open(path, O_RDONLY | O_CLOEXEC), "open sandbox");
    message = openMessage(RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    linkHeader(0, IFF_UP);
    text(IFLA_IFNAME, name);
    number(IFLA_MTU, 1500);
    number(IFLA_MASTER, master);
    size_t info = openAttribute(IFLA_LINKINFO);
    text(IFLA_INFO_KIND, "veth");
    size_t data = openAttribute(IFLA_INFO_DATA), peer = openAttribute(VETH_INFO_PEER);
    linkHeader(2, 0);
    text(IFLA_IFNAME, "eth0");
    attribute(IFLA_ADDRESS, mac, 6);
    number(IFLA_MTU, 1500);
    number(IFLA_NUM_TX_QUEUES, 1);
    number(IFLA_NUM_RX_QUEUES, 1);
    number(IFLA_NET_NS_FD, sandbox);
    shutAttribute(peer), shutAttribute(data), shutAttribute(info);
    number(IFLA_NUM_TX_QUEUES, 1);
    number(IFLA_NUM_RX_QUEUES, 1);
    shutMessage(message);
    message = openMessage(RTM_NEWLINK, NLM_F_ACK);
    linkHeader(0, 0);
    text(IFLA_IFNAME, name);
    attribute(IFLA_IFALIAS, "bench", 5);
    info = openAttribute(IFLA_LINKINFO);
    text(IFLA_INFO_SLAVE_KIND, "bridge");
    data = openAttribute(IFLA_INFO_SLAVE_DATA);
    attribute(IFLA_BRPORT_MODE, "\1", 1);
    attribute(IFLA_BRPORT_ISOLATED, "\0", 1);
    shutAttribute(data), shutAttribute(info), shutMessage(message);
    exchange(host, 2);
    close(sandbox);
    message = openMessage(RTM_NEWLINK, NLM_F_ACK);
    linkHeader(2, IFF_UP);
    shutMessage(message);
    message = openMessage(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    struct ifaddrmsg address = {.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = 2};
    put(&address, sizeof address);
    attribute(IFA_LOCAL, ip, 4);
    attribute(IFA_ADDRESS, ip, 4);
    attribute(IFA_BROADCAST, broadcast, 4);
    shutMessage(message);
    message = openMessage(RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL);
    struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT, .rtm_type = RTN_UNICAST};
    put(&route, sizeof route);
    attribute(RTA_GATEWAY, gateway, 4);
    number(RTA_OIF, 2);
    shutMessage(message);
    exchange(inside, 3);
    close(inside);

    double attached = now();
    struct nfgenmsg batch = {.res_id = htons(NFNL_SUBSYS_NFTABLES)}, inet = {.nfgen_family = NFPROTO_INET};
    message = openMessage(NFNL_MSG_BATCH_BEGIN, 0);
    put(&batch, sizeof batch);
    shutMessage(message);
    message = openMessage(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWSETELEM, NLM_F_ACK | NLM_F_CREATE);
    put(&inet, sizeof inet);
    text(NFTA_SET_ELEM_LIST_TABLE, "bench");
    text(NFTA_SET_ELEM_LIST_SET, "sources");
    size_t list = openAttribute(NFTA_SET_ELEM_LIST_ELEMENTS | NLA_F_NESTED), element = openAttribute(1 | NLA_F_NESTED);
    size_t key = openAttribute(NFTA_SET_ELEM_KEY | NLA_F_NESTED);
    char fields[28] = {0};
    memcpy(fields, name, strlen(name)), memcpy(fields + 16, mac, 6), memcpy(fields + 24, ip, 4);
    attribute(NFTA_DATA_VALUE, fields, sizeof fields);
    shutAttribute(key), shutAttribute(element), shutAttribute(list), shutMessage(message);
    message = openMessage(NFNL_MSG_BATCH_END, 0);
    put(&batch, sizeof batch);
    shutMessage(message);
    exchange(filter, 1);

    double end = now();
    printf("%.1f %.1f %.1f\n", made - start, attached - made, end - attached);
    fflush(stdout);
  }
}
