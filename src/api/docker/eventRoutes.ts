/*
 * GET /events: what happened and what happens, as JSON lines (Docker Engine API 1.50, with the legacy fields `status`,
 * `id` and `from` that go with it).
 */
import type { EngineEvent } from '../../engine/events.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { abortSignalOf, queryOf, type Routes } from './apiContext.ts';
import {
  type Filters,
  filterValues,
  matchesAny,
  matchesExactly,
  matchesLabels,
  parseFilters,
} from './filters.ts';
import { JsonLines } from './jsonLines.ts';
import { textOf } from './query.ts';
import { parseMoment } from './timestamps.ts';

const eventFilters = [
  'config',
  'container',
  'daemon',
  'event',
  'image',
  'label',
  'label!',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
];
const namedTypes = [
  'config',
  'container',
  'daemon',
  'network',
  'node',
  'plugin',
  'secret',
  'service',
  'volume',
];

/** Stamps are finer than the clock that `now` is read from, so an event may seem to come up to this much later. */
const clockGrainNs = 1_000_000n;

/** Longer timers fire at once. */
const maxSleepMs = 2 ** 31 - 1;

function scopeOf({ scope }: EngineEvent): string {
  return scope ?? 'local';
}

/** One line. `timeNano` does not fit a JavaScript number, so it is put in as text. */
function eventLine(event: EngineEvent): string {
  const { type, action, actorId, attributes, timeNs } = event;
  const isLegacy = type === 'container' || type === 'image';
  const fields = {
    ...(isLegacy && { status: action, id: actorId }),
    ...(type === 'container' && attributes.image !== undefined && { from: attributes.image }),
    Type: type,
    Action: action,
    Actor: { ID: actorId, Attributes: attributes },
    scope: scopeOf(event),
    time: Number(timeNs / 1_000_000_000n),
  };
  return `${JSON.stringify(fields).slice(0, -1)},"timeNano":${timeNs}}`;
}

/** Compared with the actor's id, its name, or the start of its id. */
function matchesActor(filters: Filters, type: string, event: EngineEvent): boolean {
  return matchesAny(
    filters,
    type,
    (value) =>
      event.type === type &&
      (event.actorId === value ||
        event.attributes.name === value ||
        (value !== '' && event.actorId.startsWith(value))),
  );
}

/** An image filter takes events of the image, and of containers made from it. */
function matchesImage(filters: Filters, event: EngineEvent): boolean {
  const withoutTag = (name: string): string => name.replace(/:[^:/]*$/, '');
  const names = [
    event.type === 'image' ? event.actorId : '',
    (event.type === 'image' ? event.attributes.name : event.attributes.image) ?? '',
  ];
  if (event.type !== 'image' && event.attributes.image === undefined) return !filters.get('image')?.length;
  return matchesAny(filters, 'image', (value) =>
    names.some((name) => name !== '' && (name === value || withoutTag(name) === value)),
  );
}

/** `exec_start: ls` is found by `exec_start`. */
function matchesAction(filters: Filters, action: string): boolean {
  return matchesAny(filters, 'event', (value) => action === value || action.startsWith(`${value}:`));
}

/** True if every filter takes the event. */
function matchesEvent(filters: Filters, event: EngineEvent): boolean {
  return (
    matchesAction(filters, event.action) &&
    matchesExactly(filters, 'type', event.type) &&
    matchesExactly(filters, 'scope', scopeOf(event)) &&
    namedTypes
      .filter((type) => filterValues(filters, type) !== undefined)
      .every((type) => matchesActor(filters, type, event)) &&
    matchesImage(filters, event) &&
    matchesLabels(filters, event.attributes)
  );
}

export const eventRoutes: Routes = (app, { deps }) => {
  const { events } = deps.engine;

  app.get('/events', async (request, reply) => {
    const query = queryOf(request);
    const nowMs = deps.clock.nowMs();
    const filters = parseFilters(textOf(query, 'filters'), eventFilters);
    const since = parseMoment(textOf(query, 'since'), 'since', nowMs);
    const until = parseMoment(textOf(query, 'until'), 'until', nowMs);
    if (since !== undefined && until !== undefined && since > until)
      throw new LinkspanError(
        'requestInvalid',
        `\`since\` time (${since / 1_000_000_000n}) cannot be after \`until\` time (${until / 1_000_000_000n})`,
      );
    const lines = new JsonLines(reply);
    const show = (event: EngineEvent): void => {
      if ((until === undefined || event.timeNs < until + clockGrainNs) && matchesEvent(filters, event))
        lines.writeText(eventLine(event));
    };
    return await lines.run(async () => {
      lines.start();
      const signal = abortSignalOf(reply);
      // Kept and live events are joined without a gap: nothing can happen between these two lines.
      if (since !== undefined) for (const event of events.kept()) if (event.timeNs >= since) show(event);
      using _follower = events.follow(show);
      const leftMs = until === undefined ? undefined : Number(until / 1_000_000n) - nowMs;
      if (leftMs !== undefined && leftMs <= 0) return;
      await (leftMs === undefined
        ? untilAborted(signal)
        : deps.clock.sleep(Math.min(leftMs, maxSleepMs), signal).catch(() => {}));
    });
  });
};

async function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  signal.addEventListener('abort', () => resolve(), { once: true });
  await promise;
}
