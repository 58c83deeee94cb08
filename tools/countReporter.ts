/*
 * A reporter for node:test that writes what tools/runTests.ts sums up, as JSON lines: the runner's own counts, the
 * name and reason of each skipped test, and those of each failed one. It prints nothing for people; the spec reporter
 * beside it does.
 */
import { relative } from 'node:path';
import { inspect } from 'node:util';

/** One line of the report. Paths are relative to the working directory. */
export type ReportLine =
  | {
      readonly type: 'counts';
      readonly passed: number;
      readonly failed: number;
      readonly skipped: number;
    }
  | ({ readonly type: 'skip' } & TestReport)
  | ({ readonly type: 'failure' } & TestReport);

interface TestReport {
  readonly file: string;
  readonly name: string;
  readonly reason: string;
}

interface RunnerEvent {
  readonly type: string;
  readonly data: {
    readonly file?: string;
    readonly name?: string;
    readonly skip?: string | boolean;
    readonly details?: { readonly error?: { readonly failureType?: string; readonly cause?: unknown } };
    readonly counts?: Readonly<Record<'passed' | 'failed' | 'skipped' | 'cancelled' | 'todo', number>>;
  };
}

function reportLine({ type, data }: RunnerEvent): ReportLine | undefined {
  if (type === 'test:summary' && data.file === undefined && data.counts !== undefined) {
    const { passed, failed, skipped, cancelled, todo } = data.counts;
    return { type: 'counts', passed: passed + todo, failed: failed + cancelled, skipped };
  }
  const test = { file: relative(process.cwd(), data.file ?? ''), name: data.name ?? '' };
  if (type === 'test:pass' && data.skip !== undefined && data.skip !== false)
    return { type: 'skip', ...test, reason: typeof data.skip === 'string' ? data.skip : '' };
  // A suite that fails for its tests alone says nothing of its own.
  const error = data.details?.error;
  if (type === 'test:fail' && error?.failureType !== 'subtestsFailed')
    return { type: 'failure', ...test, reason: inspect(error?.cause ?? error) };
  return undefined;
}

// node:test takes the reporter from the default export.
// oxlint-disable-next-line import/no-default-export
export default async function* countReporter(source: AsyncIterable<RunnerEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    const line = reportLine(event);
    if (line !== undefined) yield `${JSON.stringify(line)}\n`;
  }
}
