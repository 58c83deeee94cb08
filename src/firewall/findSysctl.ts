/*
 * Kernel parameters that may not be there: of a module that is not loaded, of a link that is gone.
 */
import { type Kernel, KernelError } from '../kernel/kernel.ts';

/** Without the line's end; undefined if there is no such parameter. */
export async function findSysctl(
  kernel: Pick<Kernel, 'getSysctl'>,
  key: string,
): Promise<string | undefined> {
  try {
    return (await kernel.getSysctl(key)).trim();
  } catch (error) {
    if (error instanceof KernelError && error.code === 'ENOENT') return undefined;
    throw error;
  }
}
