/*
 * libnftables through koffi: runs nft commands in this process, where starting `nft` would cost 11 ms. A context is
 * made for each run (0.1 ms), because it holds a netlink socket of the namespace it was made in and a cache of what
 * it saw there. Contract: libnftables(3). The library is loaded at first use, so that everything else works without.
 */
import koffi from 'koffi';
import { KernelError } from './kernel.ts';

const outputJson = 1 << 4;

interface Nftables {
  readonly newContext: (flags: number) => unknown;
  readonly free: (context: unknown) => void;
  readonly bufferOutput: (context: unknown) => number;
  readonly bufferError: (context: unknown) => number;
  readonly setFlags: (context: unknown, flags: number) => void;
  readonly run: (context: unknown, commands: Uint8Array) => number;
  readonly output: (context: unknown) => string | null;
  readonly error: (context: unknown) => string | null;
}

/** Runs `commands`; returns the output. Throws KernelError EINVAL with the library's sentences. */
export type RunNft = (commands: string, isJson: boolean) => string;

function loadNftables(): Nftables {
  let lib: ReturnType<typeof koffi.load>;
  try {
    lib = koffi.load('libnftables.so.1');
  } catch (error) {
    throw new KernelError('load libnftables.so.1', 'ENOENT', error instanceof Error ? error.message : '');
  }
  return {
    newContext: lib.func('void *nft_ctx_new(uint32_t)'),
    free: lib.func('void nft_ctx_free(void *)'),
    bufferOutput: lib.func('int nft_ctx_buffer_output(void *)'),
    bufferError: lib.func('int nft_ctx_buffer_error(void *)'),
    setFlags: lib.func('void nft_ctx_output_set_flags(void *, unsigned int)'),
    run: lib.func('int nft_run_cmd_from_buffer(void *, void *)'),
    output: lib.func('const char *nft_ctx_get_output_buffer(void *)'),
    error: lib.func('const char *nft_ctx_get_error_buffer(void *)'),
  };
}

/**
 * The library's reason as an errno name: it prints `Error: …: No such file or directory` and returns only -1.
 * Without a known reason EINVAL, as for a syntax error.
 */
function codeOf(text: string): string {
  for (const [reason, code] of reasons) if (text.includes(reason)) return code;
  return 'EINVAL';
}

const reasons: readonly (readonly [string, string])[] = [
  ['Operation not permitted', 'EPERM'],
  ['No such file or directory', 'ENOENT'],
  ['File exists', 'EEXIST'],
  ['Device or resource busy', 'EBUSY'],
  ['Operation not supported', 'EOPNOTSUPP'],
  ['Address family not supported', 'EAFNOSUPPORT'],
  ['Too many open files', 'EMFILE'],
  ['Cannot allocate memory', 'ENOMEM'],
  ['No buffer space available', 'ENOBUFS'],
];

/** The function that runs commands in the calling thread's namespace. Loads the library at its first call. */
export function openNft(): RunNft {
  let library: Nftables | undefined;
  return (commands, isJson) => {
    library ??= loadNftables();
    const context = library.newContext(0);
    if (context === null) throw new KernelError('nft_ctx_new', 'ENOMEM');
    try {
      library.bufferOutput(context);
      library.bufferError(context);
      if (isJson) library.setFlags(context, outputJson);
      // As bytes: koffi copies strings through a stack of limited size.
      const failed = library.run(context, Buffer.from(`${commands}\0`)) !== 0;
      const text = library.error(context) ?? '';
      if (failed) throw new KernelError('nft', codeOf(text), text.trim());
      return library.output(context) ?? '';
    } finally {
      library.free(context);
    }
  };
}
