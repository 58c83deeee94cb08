/*
 * The flags of `run` and `create`, as the docker CLI 28 has them. Windows-only ones are left out.
 */
import { checkedBy, type FlagSpec, flag, flagAlias } from '../flags.ts';
import {
  checkDeviceRule,
  checkVariable,
  parseAddHost,
  parseDeviceBytes,
  parseDeviceOperations,
  parseDeviceWeight,
  parseStreamName,
  parseUlimit,
} from './flagValues.ts';
import { contentTrustFlag } from '../images/contentTrust.ts';
import { parseMountFlag } from './mountFlags.ts';
import { parseNetworkFlag } from './networkFlag.ts';

const network = checkedBy(flag('--network', 'network', 'Connect a container to a network'), parseNetworkFlag);
const networkAlias = flag('--network-alias', 'list', 'Add network-scoped alias for the container');
const dnsOption = flag('--dns-option', 'list', 'Set DNS options');

const networkFlags: readonly FlagSpec[] = [
  network,
  flagAlias('net', network),
  networkAlias,
  flagAlias('net-alias', networkAlias),
  dnsOption,
  flagAlias('dns-opt', dnsOption),
  checkedBy(flag('--add-host', 'list', 'Add a custom host-to-IP mapping (host:ip)'), parseAddHost),
  flag('--dns', 'list', 'Set custom DNS servers'),
  flag('--dns-search', 'list', 'Set custom DNS search domains'),
  flag('--domainname', 'string', 'Container NIS domain name'),
  flag('--expose', 'list', 'Expose a port or a range of ports'),
  flag('-h, --hostname', 'string', 'Container host name'),
  flag('--ip', 'string', 'IPv4 address (e.g., 172.30.100.104)'),
  flag('--ip6', 'string', 'IPv6 address (e.g., 2001:db8::33)'),
  flag('--link', 'list', 'Add link to another container'),
  flag('--link-local-ip', 'list', 'Container IPv4/IPv6 link-local addresses'),
  flag('--mac-address', 'string', 'Container MAC address (e.g., 92:d0:c6:0a:29:33)'),
  flag(
    '-p, --publish',
    'list',
    "Publish a container's port(s) to the host (,from=CIDR limits who may connect)",
  ),
  flag('-P, --publish-all', 'bool', 'Publish all exposed ports to random ports'),
];

const processFlags: readonly FlagSpec[] = [
  flag('--annotation', 'map', 'Add an annotation to the container (passed through to the OCI runtime)'),
  checkedBy(flag('-a, --attach', 'list', 'Attach to STDIN, STDOUT or STDERR'), parseStreamName),
  flag('--cap-add', 'list', 'Add Linux capabilities'),
  flag('--cap-drop', 'list', 'Drop Linux capabilities'),
  flag('--cidfile', 'string', 'Write the container ID to the file'),
  flag('--entrypoint', 'string', 'Overwrite the default ENTRYPOINT of the image'),
  checkedBy(flag('-e, --env', 'list', 'Set environment variables'), checkVariable),
  flag('--env-file', 'list', 'Read in a file of environment variables'),
  flag('--group-add', 'list', 'Add additional groups to join'),
  flag('--init', 'bool', 'Run an init inside the container that forwards signals and reaps processes'),
  flag('-i, --interactive', 'bool', 'Keep STDIN open even if not attached'),
  flag('-l, --label', 'list', 'Set meta data on a container'),
  flag('--label-file', 'list', 'Read in a line delimited file of labels'),
  flag('--log-driver', 'string', 'Logging driver for the container'),
  flag('--log-opt', 'list', 'Log driver options'),
  flag('--name', 'string', 'Assign a name to the container'),
  contentTrustFlag('verification'),
  flag('--platform', 'string', 'Set platform if server is multi-platform capable'),
  flag('--privileged', 'bool', 'Give extended privileges to this container'),
  flag('-q, --quiet', 'bool', 'Suppress the pull output'),
  flag('--restart', 'string', 'Restart policy to apply when a container exits', 'no'),
  flag(
    '--rm',
    'bool',
    'Automatically remove the container and its associated anonymous volumes when it exits',
  ),
  flag('--runtime', 'string', 'Runtime to use for this container'),
  flag('--security-opt', 'list', 'Security Options'),
  flag('--stop-signal', 'string', 'Signal to stop the container'),
  flag('--stop-timeout', 'int', 'Timeout (in seconds) to stop a container'),
  flag('-t, --tty', 'bool', 'Allocate a pseudo-TTY'),
  flag('-u, --user', 'string', 'Username or UID (format: <name|uid>[:<group|gid>])'),
  flag('-w, --workdir', 'string', 'Working directory inside the container'),
];

const namespaceFlags: readonly FlagSpec[] = [
  flag('--cgroup-parent', 'string', 'Optional parent cgroup for the container'),
  flag('--cgroupns', 'string', 'Cgroup namespace to use (host|private)'),
  flag('--ipc', 'string', 'IPC mode to use'),
  flag('--pid', 'string', 'PID namespace to use'),
  flag('--sysctl', 'map', 'Sysctl options'),
  flag('--userns', 'string', 'User namespace to use'),
  flag('--uts', 'string', 'UTS namespace to use'),
];

const fileFlags: readonly FlagSpec[] = [
  flag('--device', 'list', 'Add a host device to the container'),
  checkedBy(
    flag('--device-cgroup-rule', 'list', 'Add a rule to the cgroup allowed devices list'),
    checkDeviceRule,
  ),
  checkedBy(flag('--mount', 'mount', 'Attach a filesystem mount to the container'), parseMountFlag),
  flag('--read-only', 'bool', "Mount the container's root filesystem as read only"),
  flag('--shm-size', 'bytes', 'Size of /dev/shm'),
  flag('--storage-opt', 'list', 'Storage driver options for the container'),
  flag('--tmpfs', 'list', 'Mount a tmpfs directory'),
  flag('-v, --volume', 'list', 'Bind mount a volume'),
  flag('--volume-driver', 'string', 'Optional volume driver for the container'),
  flag('--volumes-from', 'list', 'Mount volumes from the specified container(s)'),
];

const resourceFlags: readonly FlagSpec[] = [
  flag('--blkio-weight', 'uint16', 'Block IO (relative weight), between 10 and 1000, or 0 to disable', '0'),
  checkedBy(
    flag('--blkio-weight-device', 'list', 'Block IO weight (relative device weight)'),
    parseDeviceWeight,
  ),
  flag('--cpu-period', 'int', 'Limit CPU CFS (Completely Fair Scheduler) period'),
  flag('--cpu-quota', 'int', 'Limit CPU CFS (Completely Fair Scheduler) quota'),
  flag('--cpu-rt-period', 'int', 'Limit CPU real-time period in microseconds'),
  flag('--cpu-rt-runtime', 'int', 'Limit CPU real-time runtime in microseconds'),
  flag('-c, --cpu-shares', 'int', 'CPU shares (relative weight)'),
  flag('--cpus', 'decimal', 'Number of CPUs'),
  flag('--cpuset-cpus', 'string', 'CPUs in which to allow execution (0-3, 0,1)'),
  flag('--cpuset-mems', 'string', 'MEMs in which to allow execution (0-3, 0,1)'),
  checkedBy(
    flag('--device-read-bps', 'list', 'Limit read rate (bytes per second) from a device'),
    parseDeviceBytes,
  ),
  checkedBy(
    flag('--device-read-iops', 'list', 'Limit read rate (IO per second) from a device'),
    parseDeviceOperations,
  ),
  checkedBy(
    flag('--device-write-bps', 'list', 'Limit write rate (bytes per second) to a device'),
    parseDeviceBytes,
  ),
  checkedBy(
    flag('--device-write-iops', 'list', 'Limit write rate (IO per second) to a device'),
    parseDeviceOperations,
  ),
  flag('-m, --memory', 'bytes', 'Memory limit'),
  flag('--memory-reservation', 'bytes', 'Memory soft limit'),
  flag('--memory-swap', 'bytes', "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
  flag('--memory-swappiness', 'int', 'Tune container memory swappiness (0 to 100)', '-1'),
  flag('--oom-kill-disable', 'bool', 'Disable OOM Killer'),
  flag('--oom-score-adj', 'int', "Tune host's OOM preferences (-1000 to 1000)"),
  flag('--pids-limit', 'int', 'Tune container pids limit (set -1 for unlimited)'),
  checkedBy(flag('--ulimit', 'ulimit', 'Ulimit options'), parseUlimit),
];

const healthFlags: readonly FlagSpec[] = [
  flag('--health-cmd', 'string', 'Command to run to check health'),
  flag('--health-interval', 'duration', 'Time between running the check (ms|s|m|h)', '0s'),
  flag('--health-retries', 'int', 'Consecutive failures needed to report unhealthy'),
  flag(
    '--health-start-interval',
    'duration',
    'Time between running the check during the start period (ms|s|m|h)',
    '0s',
  ),
  flag(
    '--health-start-period',
    'duration',
    'Start period for the container to initialize before starting health-retries countdown (ms|s|m|h)',
    '0s',
  ),
  flag('--health-timeout', 'duration', 'Maximum time to allow one check to run (ms|s|m|h)', '0s'),
  flag('--no-healthcheck', 'bool', 'Disable any container-specified HEALTHCHECK'),
];

/** What `create` takes. */
export const createFlags: readonly FlagSpec[] = [
  ...networkFlags,
  ...processFlags,
  ...namespaceFlags,
  ...fileFlags,
  ...resourceFlags,
  ...healthFlags,
  flag('--pull', 'string', 'Pull image before creating ("always", "missing", "never")', 'missing'),
];

/** What `run` takes besides. */
export const runOnlyFlags: readonly FlagSpec[] = [
  flag('-d, --detach', 'bool', 'Run container in background and print container ID'),
  flag('--detach-keys', 'string', 'Override the key sequence for detaching a container'),
  flag('--sig-proxy', 'bool', 'Proxy received signals to the process', 'true'),
];
