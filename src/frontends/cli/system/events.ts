/*
 * `events`: one line an event, as it happens.
 */

import { CliError } from '../cliError.ts';
import { type Command, noArguments } from '../command.ts';
import { timestampOf } from '../containers/logs.ts';
import { encodeFilters } from '../filters.ts';
import { flag } from '../flags.ts';
import { jsonTexts } from '../http/jsonLines.ts';
import { formatUsage } from '../inspection.ts';
import { dockerShape } from '../template/dockerShape.ts';
import { compileTemplate, type Template } from '../template/evaluator.ts';
import { TemplateError } from '../template/lexer.ts';
import { GoStruct, toTyped } from '../template/values.ts';
import { parseJson } from '../text/goJson.ts';
import { formatNanoTime } from '../text/goTime.ts';

interface EventMessage {
  readonly Type: string;
  readonly Action: string;
  readonly Actor: { readonly ID: string; readonly Attributes: Readonly<Record<string, string>> | null };
  readonly time: number;
  readonly timeNano?: number | bigint;
}

/** `2026-11-24T05:00:00.123456789Z network create <id> (name=n1, type=bridge)`. */
export function formatEvent(event: EventMessage): string {
  const nano = BigInt(event.timeNano ?? 0) || BigInt(event.time) * 1_000_000_000n;
  const attributes = Object.entries(event.Actor.Attributes ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const list = attributes.map(([key, value]) => `${key}=${value}`).join(', ');
  const tail = list === '' ? '' : ` (${list})`;
  return `${formatNanoTime(nano)} ${event.Type} ${event.Action} ${event.Actor.ID}${tail}\n`;
}

/** Go's names for the fields whose JSON names begin with a small letter, for templates. */
const goNames: Readonly<Record<string, string>> = {
  status: 'Status',
  id: 'ID',
  from: 'From',
  scope: 'Scope',
  time: 'Time',
  timeNano: 'TimeNano',
};

function runTemplate(template: Template, json: unknown): string {
  const typed = toTyped(json, { ...dockerShape, optional: {} }, '*events.Message');
  if (!(typed instanceof GoStruct)) return '';
  const fields = new Map(typed.fields);
  for (const [name, goName] of Object.entries(goNames)) fields.set(goName, fields.get(name) ?? '');
  try {
    return `${template.run(new GoStruct(typed.typeName, fields, new Set(typed.fields.keys())))}\n`;
  } catch (error) {
    if (error instanceof TemplateError) throw new CliError(error.message);
    throw error;
  }
}

function compile(format: string): Template | undefined {
  try {
    return format === '' ? undefined : compileTemplate(format === 'json' ? '{{json .}}' : format);
  } catch (error) {
    if (error instanceof TemplateError) throw new CliError(`Error parsing format: ${error.message}`, 64);
    throw error;
  }
}

export const eventsCommand: Command = {
  paths: ['events', 'system events'],
  summary: 'Get real time events from the server',
  usage: '[OPTIONS]',
  arity: noArguments,
  flags: [
    flag('-f, --filter', 'filter', 'Filter output based on conditions provided'),
    flag('--format', 'string', formatUsage),
    flag('--since', 'string', 'Show all events created since timestamp'),
    flag('--until', 'string', 'Stream events until this timestamp'),
  ],
  examples: [
    ['What happens to networks', 'events --filter type=network'],
    ['The last hour, then stop', 'events --since 1h --until 0s'],
  ],
  run: async ({ client, flags, io }) => {
    const template = compile(flags.text('format'));
    const { body } = await client.request('GET', '/events', {
      query: {
        since: timestampOf(flags.text('since'), 'since', io.nowMs()),
        until: timestampOf(flags.text('until'), 'until', io.nowMs()),
        filters: encodeFilters(flags.list('filter')),
      },
    });
    for await (const text of jsonTexts(body)) {
      const json = parseJson(text);
      io.out(template === undefined ? formatEvent(json as EventMessage) : runTemplate(template, json));
    }
  },
};
