import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultCapabilities } from './capabilities.ts';
import { expandSeccomp, type SeccompHost, type SeccompProfile } from './seccomp.ts';
import { defaultSeccompProfile } from './seccompDefault.ts';

const host: SeccompHost = {
  architecture: 'amd64',
  kernelRelease: '6.12.9-amd64',
  capabilities: defaultCapabilities,
};

interface Expanded {
  readonly architectures?: readonly string[];
  readonly syscalls: readonly {
    readonly names: readonly string[];
    readonly action: string;
    readonly errnoRet?: number;
    readonly args?: readonly { readonly value: number }[];
  }[];
}

function expand(profile: SeccompProfile, at: Partial<SeccompHost> = {}): Expanded {
  return expandSeccomp(profile, { ...host, ...at }) as unknown as Expanded;
}

function allowed(expanded: Expanded): ReadonlySet<string> {
  return new Set(
    expanded.syscalls.flatMap(({ names, action, args }) =>
      action === 'SCMP_ACT_ALLOW' && args === undefined ? names : [],
    ),
  );
}

test('an ordinary container may do ordinary things, and no others', () => {
  const names = allowed(expand(defaultSeccompProfile));
  for (const name of [
    'read',
    'execve',
    'openat',
    'chroot',
    'ptrace',
    'arch_prctl',
    'mknod',
    'futex_time64',
  ]) {
    assert.ok(names.has(name), name);
  }
  for (const name of [
    'mount',
    'unshare',
    'setns',
    'bpf',
    'keyctl',
    'reboot',
    'io_uring_setup',
    'clone3',
    'kexec_load',
  ]) {
    assert.ok(!names.has(name), name);
  }
});

test('clone is allowed without namespace flags, clone3 does not exist', () => {
  const { syscalls } = expand(defaultSeccompProfile);
  const clone = syscalls.filter(({ names }) => names.includes('clone'));
  assert.deepEqual(
    clone.map(({ args }) => args?.map(({ value }) => value)),
    [[2_114_060_288]],
  );
  assert.equal(syscalls.find(({ names }) => names.includes('clone3'))?.errnoRet, 38);
});

test('a capability brings its system calls', () => {
  const expanded = expand(defaultSeccompProfile, { capabilities: [...defaultCapabilities, 'CAP_SYS_ADMIN'] });
  assert.ok(allowed(expanded).has('mount') && allowed(expanded).has('clone3'));
  assert.equal(expanded.syscalls.filter(({ names }) => names.includes('clone3')).length, 1);
});

test('architectures: the native one with its sub-architectures, and their own calls', () => {
  assert.deepEqual(expand(defaultSeccompProfile).architectures, [
    'SCMP_ARCH_X86_64',
    'SCMP_ARCH_X86',
    'SCMP_ARCH_X32',
  ]);
  const arm = expand(defaultSeccompProfile, { architecture: 'arm64' });
  assert.deepEqual(arm.architectures, ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM']);
  assert.ok(allowed(arm).has('cacheflush') && !allowed(arm).has('arch_prctl'));
});

test('conditions on the kernel compare numbers, not text', () => {
  const profile: SeccompProfile = {
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [
      { names: ['a'], action: 'SCMP_ACT_ALLOW', includes: { minKernel: '5.9' } },
      { names: ['b'], action: 'SCMP_ACT_ALLOW', excludes: { minKernel: '5.9' } },
      { name: 'c', action: 'SCMP_ACT_ALLOW', includes: {}, args: [] },
    ],
  };
  const names = (kernelRelease: string): string => [...allowed(expand(profile, { kernelRelease }))].join('');
  assert.equal(names('5.10.0'), 'ac');
  assert.equal(names('5.8.19'), 'bc');
  assert.equal(names('4.19'), 'bc');
});
