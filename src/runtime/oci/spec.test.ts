import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { hasCode } from '../../errors/linkspanError.ts';
import { allCapabilities, capabilityMask, defaultCapabilities, resolveCapabilities } from './capabilities.ts';
import { readLimitSupport } from './limitSupport.ts';
import type { OciMount } from './mounts.ts';
import {
  buildExecProcess,
  buildSpec,
  checkSpecOptions,
  type SpecHost,
  type SpecOptions,
  type SpecStart,
} from './spec.ts';
import { parseCapabilities } from './specHost.ts';

const kvm = {
  path: '/dev/kvm',
  type: 'c',
  major: 10,
  minor: 232,
  fileMode: 0o660,
  uid: 0,
  gid: 104,
} as const;

const host: SpecHost = {
  architecture: 'amd64',
  kernelRelease: '6.12.9',
  capabilities: allCapabilities.filter((name) => name !== 'CAP_SYS_RESOURCE'),
  cgroupVersion: 1,
  cgroupParent: '/linkspan',
  limitSupport: readLimitSupport(1, '/nowhere'),
  appArmor: undefined,
  findInit: () => '/usr/bin/tini-static',
  devices: () => [kvm],
  devicesAt: (path) => [{ ...kvm, path }],
  findMount: () => ({ path: '/', isShared: true, isSlave: false }),
  deviceNumber: () => ({ major: 8, minor: 16 }),
};

const options: SpecOptions = {
  id: 'abc123',
  args: ['sh'],
  env: ['A=1', 'PATH=/bin'],
  workingDir: '',
  hostname: 'abc123',
  domainname: '',
  isTty: false,
  consoleSize: undefined,
  isPrivileged: false,
  isReadOnlyRootfs: false,
  capAdd: [],
  capDrop: [],
  securityOptions: [],
  mounts: [],
  sysctls: {},
  shmSizeBytes: 67_108_864,
  hasHostNetwork: false,
  pidNamespace: 'own',
  hasInit: false,
  ipcNamespace: 'own',
  hasShm: true,
  hasHostUts: false,
  cgroupNamespace: '',
  annotations: {},
  limits: {},
  ulimits: [],
  devices: [],
  deviceRules: [],
  cgroupParent: '',
  oomScoreAdj: 0,
};

const start: SpecStart = {
  network: { type: 'namespace', path: '/run/linkspan/netns/1', isPrivate: true },
  user: { uid: 0, gid: 0, additionalGids: [0, 10], home: '/root' },
  etc: { hosts: '/d/hosts', hostname: '/d/hostname', resolvConf: '/d/resolv.conf' },
};

interface Spec {
  readonly process: {
    readonly env: readonly string[];
    readonly capabilities: Readonly<Record<string, readonly string[]>>;
    readonly noNewPrivileges: boolean;
    readonly apparmorProfile?: string;
    readonly cwd: string;
  };
  readonly root: { readonly readonly: boolean };
  readonly hostname?: string;
  readonly mounts: readonly OciMount[];
  readonly linux: {
    readonly cgroupsPath: string;
    readonly namespaces: readonly { readonly type: string; readonly path?: string }[];
    readonly sysctl: Readonly<Record<string, string>>;
    readonly seccomp?: { readonly syscalls: readonly { readonly names: readonly string[] }[] };
    readonly maskedPaths?: readonly string[];
    readonly readonlyPaths?: readonly string[];
    readonly devices: readonly { readonly path: string }[];
    readonly resources: { readonly devices: readonly { readonly allow: boolean }[] };
  };
}

function build(
  change: Partial<SpecOptions> = {},
  at: Partial<SpecStart> = {},
  on: Partial<SpecHost> = {},
): Spec {
  return buildSpec({ ...options, ...change }, { ...start, ...at }, { ...host, ...on }) as unknown as Spec;
}

test('the default spec is the golden one (UPDATE_GOLDEN=1 rewrites it)', () => {
  const path = join(import.meta.dirname, 'testdata/default.golden.json');
  const text = `${JSON.stringify(build(), null, 2)}\n`;
  if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(path, text);
  assert.equal(text, readFileSync(path, 'utf8'));
});

test('the default capabilities are the mask that /proc shows in a Docker container', () => {
  assert.equal(capabilityMask(defaultCapabilities).toString(16), 'a80425fb');
  assert.equal(capabilityMask(build().process.capabilities['effective'] ?? []), 0xa80425fbn);
  assert.deepEqual(parseCapabilities('CapBnd:\t00000000a80425fb\n').length, 14);
});

test('capabilities are added, dropped and bounded by what the daemon has', () => {
  const resolve = (add: string[], drop: string[], isPrivileged = false): readonly string[] =>
    resolveCapabilities({ add, drop, isPrivileged, available: host.capabilities });
  assert.deepEqual(resolve(['net_admin'], ['ALL']), ['CAP_NET_ADMIN']);
  assert.equal(resolve(['CAP_SYS_TIME'], []).length, 15);
  assert.equal(resolve([], ['chown', 'KILL']).length, 12);
  assert.equal(resolve(['all'], ['mknod']).length, 39);
  assert.equal(resolve([], ['ALL'], true).length, 40);
  assert.throws(() => resolve(['nope'], []), /invalid CapAdd: unknown capability: "CAP_NOPE"/);
});

test('another user than root has its capabilities in the bounding set only', () => {
  const { capabilities } = build(
    {},
    { user: { uid: 1000, gid: 1000, additionalGids: [1000], home: '/' } },
  ).process;
  assert.deepEqual(Object.keys(capabilities), ['bounding']);
});

test('the environment has Docker\u2019s order: given, image and user, home', () => {
  assert.deepEqual(build({ isTty: true }).process.env, [
    'PATH=/bin',
    'HOSTNAME=abc123',
    'TERM=xterm',
    'A=1',
    'HOME=/root',
  ]);
  assert.deepEqual(build({ env: ['HOME=/x'] }).process.env.at(-1), 'HOME=/x');
});

test('namespaces follow the modes and the cgroup version', () => {
  const types = (spec: Spec): string => spec.linux.namespaces.map(({ type }) => type).join(' ');
  assert.equal(types(build()), 'mount network uts pid ipc');
  assert.equal(types(build({}, {}, { cgroupVersion: 2 })), 'mount network uts pid ipc cgroup');
  assert.equal(
    types(build({ cgroupNamespace: 'host' }, {}, { cgroupVersion: 2 })),
    'mount network uts pid ipc',
  );
  const shared = build(
    { hasHostNetwork: true, pidNamespace: 'host', ipcNamespace: 'host', hasHostUts: true },
    { network: { type: 'host' } },
  );
  assert.equal(types(shared), 'mount');
  assert.equal(shared.hostname, undefined);
  assert.deepEqual(shared.linux.sysctl, {});
  assert.equal(shared.mounts.find(({ destination }) => destination === '/dev/shm')?.source, '/dev/shm');
});

test('namespaces of another container are joined by path, and its /dev/shm is bound in', () => {
  const spec = build(
    { pidNamespace: 'other', ipcNamespace: 'other' },
    { pidPath: '/proc/7/ns/pid', ipcPath: '/proc/7/ns/ipc', shmPath: '/run/shm/a' },
  );
  assert.deepEqual(
    spec.linux.namespaces.filter(({ type }) => type === 'pid' || type === 'ipc'),
    [
      { type: 'pid', path: '/proc/7/ns/pid' },
      { type: 'ipc', path: '/proc/7/ns/ipc' },
    ],
  );
  const shm = ({ mounts }: Spec): unknown =>
    mounts.find(({ destination }) => destination === '/dev/shm')?.source;
  assert.deepEqual(
    [shm(spec), shm(build()), shm(build({ hasShm: false }))],
    ['/run/shm/a', 'shm', undefined],
  );
});

test('a joined namespace keeps its owner\u2019s sysctls', () => {
  const network = { type: 'namespace', path: '/n', isPrivate: false } as const;
  assert.deepEqual(build({}, { network }).linux.sysctl, {});
  assert.equal(build().linux.sysctl['net.ipv4.ip_unprivileged_port_start'], '0');
  assert.equal(build({ domainname: 'example.org' }).linux.sysctl['kernel.domainname'], 'example.org');
});

test('privileged lifts seccomp, masks and device rules, and brings the devices', () => {
  const { linux, mounts } = build({ isPrivileged: true });
  assert.equal(linux.seccomp, undefined);
  assert.equal(linux.maskedPaths, undefined);
  assert.deepEqual(
    linux.devices.map(({ path }) => path),
    ['/dev/kvm'],
  );
  assert.deepEqual(
    linux.resources.devices.map(({ allow }) => allow),
    [true],
  );
  assert.ok(mounts.find(({ destination }) => destination === '/sys')?.options.includes('rw'));
});

test('security options', () => {
  assert.equal(build({ securityOptions: ['seccomp=unconfined'] }).linux.seccomp, undefined);
  assert.equal(build({ securityOptions: ['no-new-privileges'] }).process.noNewPrivileges, true);
  assert.equal(build({ securityOptions: ['no-new-privileges:false'] }).process.noNewPrivileges, false);
  assert.equal(build({ securityOptions: ['systempaths=unconfined'] }).linux.readonlyPaths, undefined);
  const own = '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}';
  assert.deepEqual(build({ securityOptions: [`seccomp=${own}`] }).linux.seccomp?.syscalls[0]?.names, [
    'mkdir',
  ]);
});

test('AppArmor confines by the default profile, another or none, where the machine has it', () => {
  const appArmor = { ensureDefault: () => Promise.resolve() };
  const profile = (change: Partial<SpecOptions>): string | undefined =>
    build(change, {}, { appArmor }).process.apparmorProfile;
  assert.equal(profile({}), 'docker-default');
  assert.equal(profile({ isPrivileged: true }), 'unconfined');
  assert.equal(profile({ isPrivileged: true, securityOptions: ['apparmor:mine'] }), 'mine');
  assert.equal(profile({ securityOptions: ['apparmor=unconfined'] }), 'unconfined');
  assert.equal(build({ securityOptions: ['apparmor=unconfined'] }).process.apparmorProfile, undefined);
  const mine = { ...options, securityOptions: ['apparmor=mine'] };
  assert.throws(
    () => checkSpecOptions(mine, host),
    (error: unknown) => hasCode(error, 'notImplemented'),
  );
  checkSpecOptions(mine, { ...host, appArmor });
  const exec = {
    args: ['sh'],
    env: [],
    workingDir: undefined,
    user: start.user,
    isTty: false,
    consoleSize: undefined,
  };
  for (const [isPrivileged, expected] of [
    [false, 'mine'],
    [true, 'unconfined'],
  ] as const)
    assert.equal(
      buildExecProcess({ ...exec, isPrivileged }, mine, { ...host, appArmor })['apparmorProfile'],
      expected,
    );
});

test('user mounts replace default ones and come parents first', () => {
  const bind = (target: string): SpecOptions['mounts'][number] => ({
    type: 'bind',
    source: '/s',
    target,
    isReadOnly: true,
  });
  const { mounts } = build({
    mounts: [
      bind('/a/b'),
      bind('/a'),
      bind('/dev/shm'),
      bind('/etc'),
      { type: 'tmpfs', target: '/t', options: 'size=1m,exec' },
    ],
  });
  assert.deepEqual(
    mounts.slice(-8).map(({ destination }) => destination),
    ['/a', '/etc', '/t', '/etc/resolv.conf', '/etc/hostname', '/etc/hosts', '/a/b', '/dev/shm'],
  );
  assert.equal(mounts.filter(({ destination }) => destination === '/dev/shm').length, 1);
  assert.deepEqual(mounts.at(-6)?.options, ['noexec', 'nosuid', 'nodev', 'size=1m', 'exec']);
  assert.deepEqual(mounts.at(-1)?.options, ['rbind', 'ro', 'rro', 'rprivate']);
});

test('what can be known at create is refused at create', () => {
  const refused: readonly [Partial<SpecOptions>, RegExp][] = [
    [
      { hasHostNetwork: true, sysctls: { 'net.ipv4.ip_forward': '1' } },
      /sysctl "net.ipv4.ip_forward" not allowed in host network namespace/,
    ],
    [{ sysctls: { 'vm.swappiness': '1' } }, /sysctl "vm.swappiness" is not in a separate kernel namespace/],
    [{ capAdd: ['X'] }, /invalid CapAdd: unknown capability: "CAP_X"/],
    [{ securityOptions: ['what'] }, /invalid --security-opt 2: "what"/],
    [{ securityOptions: ['seccomp={'] }, /Decoding seccomp profile failed/],
    [{ mounts: [{ type: 'tmpfs', target: 'x', options: '' }] }, /mount path must be absolute/],
    [{ mounts: [{ type: 'tmpfs', target: '/x', options: 'bogus' }] }, /invalid tmpfs option "bogus"/],
    [{ cgroupNamespace: 'x' }, /invalid cgroup namespace mode: x/],
    [
      {
        mounts: [
          { type: 'tmpfs', target: '/x', options: '' },
          { type: 'bind', source: '/y', target: '/x', isReadOnly: false },
        ],
      },
      /Duplicate mount point: \/x/,
    ],
  ];
  for (const [change, text] of refused) {
    assert.throws(
      () => checkSpecOptions({ ...options, ...change }, host),
      (error) => hasCode(error, 'containerConfigInvalid') && text.test(error.message),
    );
  }
  checkSpecOptions({ ...options, sysctls: { 'net.ipv4.ip_forward': '1', 'kernel.msgmax': '1' } }, host);
});

test('an exec has the container\u2019s environment and its own over it', () => {
  const process = buildExecProcess(
    {
      args: ['id'],
      env: ['A=2', 'B=3'],
      workingDir: undefined,
      user: { uid: 5, gid: 6, additionalGids: [6], home: '/h' },
      isTty: true,
      isPrivileged: true,
      consoleSize: [24, 80],
    },
    { ...options, workingDir: '/w' },
    host,
  ) as unknown as Spec['process'] & { readonly consoleSize: object };
  assert.deepEqual(process.env, ['PATH=/bin', 'HOSTNAME=abc123', 'TERM=xterm', 'A=2', 'B=3', 'HOME=/h']);
  assert.equal(process.cwd, '/w');
  assert.deepEqual(process.consoleSize, { height: 24, width: 80 });
  assert.equal(process.capabilities['bounding']?.length, 40);
});

test('limits, ulimits, devices and the parent cgroup are in the spec', () => {
  const spec = buildSpec(
    {
      ...options,
      limits: { pidsLimit: 5 },
      ulimits: [{ name: 'nofile', soft: 5, hard: -1 }],
      devices: [{ hostPath: '/dev/a', containerPath: '/dev/b', access: 'r' }],
      deviceRules: ['b 8:* rw'],
      cgroupParent: '/other/',
      oomScoreAdj: 300,
    },
    start,
    host,
  ) as unknown as {
    readonly process: Readonly<Record<string, unknown>>;
    readonly linux: {
      readonly cgroupsPath: string;
      readonly devices: readonly object[];
      readonly resources: { readonly devices: readonly object[]; readonly pids: object };
    };
  };
  const { process: first, linux } = spec;
  assert.deepEqual(first['rlimits'], [
    { type: 'RLIMIT_NOFILE', soft: 5n, hard: 18_446_744_073_709_551_615n },
  ]);
  assert.equal(first['oomScoreAdj'], 300);
  assert.equal(linux.cgroupsPath, '/other/abc123');
  assert.deepEqual(linux.devices, [{ ...kvm, path: '/dev/b' }]);
  assert.deepEqual(linux.resources.pids, { limit: 5 });
  assert.deepEqual(linux.resources.devices.slice(-2), [
    { allow: true, type: 'c', major: 10, minor: 232, access: 'r' },
    { allow: true, type: 'b', major: 8, minor: -1, access: 'rw' },
  ]);
});

test('a privileged container has a mapped device under both names', () => {
  const devices = [
    { hostPath: '/dev/kvm', containerPath: '/dev/kvm', access: 'rwm' },
    { hostPath: '/dev/kvm', containerPath: '/dev/virt', access: 'rwm' },
  ];
  const paths = build({ isPrivileged: true, devices }).linux.devices.map(({ path }) => path);
  assert.deepEqual(paths, ['/dev/kvm', '/dev/virt']);
});

test('an init is before the command, where process ids are the container’s own, and this machine has one', () => {
  const argsOf = (change: Partial<SpecOptions>, machine: Partial<SpecHost> = {}): unknown =>
    (build(change, {}, machine).process as unknown as { readonly args: unknown }).args;
  const { mounts } = build({ hasInit: true, args: ['a', '-b'] });
  assert.deepEqual(mounts.at(-1), {
    type: 'bind',
    source: '/usr/bin/tini-static',
    destination: '/sbin/docker-init',
    options: ['bind', 'ro'],
  });
  assert.deepEqual(argsOf({ hasInit: true, args: ['a', '-b'] }), ['/sbin/docker-init', '--', 'a', '-b']);
  assert.deepEqual(argsOf({ hasInit: true, pidNamespace: 'host' }), ['sh']);
  assert.deepEqual(argsOf({ hasInit: true, pidNamespace: 'other' }), ['sh']);
  assert.throws(
    () => argsOf({ hasInit: true }, { findInit: () => undefined }),
    /exec: "docker-init": executable file not found in \$PATH/,
  );
});
