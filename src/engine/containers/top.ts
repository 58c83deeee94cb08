/*
 * `docker top`: the machine's own ps, filtered to the processes of a container. ps is spawned because its options are
 * the interface.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { LinkspanError, messageOf } from '../../errors/linkspanError.ts';

const execFileAsync = promisify(execFile);

export interface ProcessTable {
  readonly titles: readonly string[];
  readonly processes: readonly (readonly string[])[];
}

/** Cuts ps output into a table with only the rows of `pids`. The last column keeps its blanks. Throws requestInvalid. */
export function parsePs(output: string, pids: ReadonlySet<number>): ProcessTable {
  const [head = '', ...rows] = output.split('\n').filter((line) => line.trim() !== '');
  const titles = head.trim().split(/\s+/);
  const pidColumn = titles.indexOf('PID');
  if (pidColumn === -1) throw new LinkspanError('requestInvalid', "Couldn't find PID field in ps output");
  const cut = (row: string): readonly string[] => {
    const fields = row.trim().split(/\s+/);
    return [...fields.slice(0, titles.length - 1), fields.slice(titles.length - 1).join(' ')];
  };
  return { titles, processes: rows.map(cut).filter((fields) => pids.has(Number(fields[pidColumn]))) };
}

/** Runs `ps` with `args` (none = `-ef`). Throws requestInvalid with what ps said. */
export async function listProcesses(args: readonly string[], pids: readonly number[]): Promise<ProcessTable> {
  try {
    const { stdout } = await execFileAsync('ps', args.length === 0 ? ['-ef'] : [...args], {
      maxBuffer: 16 * 1024 * 1024,
    });
    return parsePs(stdout, new Set(pids));
  } catch (error) {
    if (error instanceof LinkspanError) throw error;
    const { stderr } = error as { readonly stderr?: string };
    throw new LinkspanError('requestInvalid', `error running ps: ${stderr?.trim() || messageOf(error)}`, {
      cause: error,
    });
  }
}
