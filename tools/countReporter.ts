/*
 * A reporter for node:test that writes what tools/runTests.ts sums up, as JSON lines: the runner's own counts, and
 * the name and reason of each skipped test. It prints nothing for people; the spec reporter beside it does.
 */
import { relative } from 'node:path';

/** One line of the report. Paths are relative to the working directory. */
export type ReportLine =
  | {
      readonly type: 'counts';
      readonly passed: number;
      readonly failed: number;
      readonly skipped: number;
    }
  | { readonly type: 'skip'; readonly file: string; readonly name: string; readonly reason: string };

interface RunnerEvent {
  readonly type: string;
  readonly data: {
    readonly file?: string;
    readonly name?: string;
    readonly skip?: string | boolean;
    readonly counts?: Readonly<Record<'passed' | 'failed' | 'skipped' | 'cancelled' | 'todo', number>>;
  };
}

function reportLine({ type, data }: RunnerEvent): ReportLine | undefined {
  if (type === 'test:summary' && data.file === undefined && data.counts !== undefined) {
    const { passed, failed, skipped, cancelled, todo } = data.counts;
    return { type: 'counts', passed: passed + todo, failed: failed + cancelled, skipped };
  }
  if (type === 'test:pass' && data.skip !== undefined && data.skip !== false) {
    const reason = typeof data.skip === 'string' ? data.skip : '';
    return { type: 'skip', file: relative(process.cwd(), data.file ?? ''), name: data.name ?? '', reason };
  }
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
