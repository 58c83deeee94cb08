/*
 * What a manager sees happen to the swarm's nodes and networks, from the moment that it listens. Contract: the events of
 * scope swarm of Docker Engine 28 (daemon/events.go in moby), which each manager tells of by itself.
 */
import type { Roster } from './membership/roster.ts';
import type { NodeRecord } from './membership/records.ts';
import type { NetworkBook } from './networks/networkBook.ts';
import type { SwarmEvent } from './swarmNetworks.ts';

interface SeenManager {
  readonly isLeader: boolean;
  readonly isReachable: boolean;
}

/** `state` → `state.old` and `state.new`; nothing where it is as it was. */
function changed(what: string, before: string, after: string): Readonly<Record<string, string>> {
  return before === after ? {} : { [`${what}.old`]: before, [`${what}.new`]: after };
}

function nodeEvent(
  { id, spec, description }: NodeRecord,
  action: SwarmEvent['action'],
  changes: SwarmEvent['changes'] = {},
): SwarmEvent {
  return { type: 'node', action, id, name: spec.name === '' ? description.hostname : spec.name, changes };
}

/** Dispose it to stop. */
export function watchSwarm(
  roster: Roster,
  book: Pick<NetworkBook, 'events'>,
  tell: (event: SwarmEvent) => void,
): Disposable {
  const listeners = new DisposableStack();
  const managers = new Map<string, SeenManager>();
  /** A manager leads, or is reached, as it was not before. One that was none before is no change, as in Docker. */
  const lookAtManagers = (): void => {
    const seen = roster.managers.map((node) => ({ node, after: roster.managerState(node.id) }));
    const known = new Map(managers);
    managers.clear();
    for (const { node, after } of seen) {
      managers.set(node.id, after);
      const before = known.get(node.id);
      if (before === undefined) continue;
      const word = ({ isReachable }: SeenManager): string => (isReachable ? 'reachable' : 'unreachable');
      const changes = {
        ...changed('leader', String(before.isLeader), String(after.isLeader)),
        ...changed('reachability', word(before), word(after)),
      };
      if (Object.keys(changes).length > 0) tell(nodeEvent(node, 'update', changes));
    }
  };
  lookAtManagers();
  listeners.use(
    roster.events.on('changed', ({ before, after }) => {
      if (before === undefined) tell(nodeEvent(after, 'create'));
      else if (before.version !== after.version)
        tell(
          nodeEvent(after, 'update', {
            ...changed('availability', before.spec.availability, after.spec.availability),
            ...changed('role', before.spec.role, after.spec.role),
          }),
        );
      lookAtManagers();
    }),
  );
  listeners.use(
    roster.events.on('state', ({ node, before, after }) =>
      tell(nodeEvent(node, 'update', changed('state', before, after))),
    ),
  );
  listeners.use(roster.events.on('removed', (node) => tell(nodeEvent(node, 'remove'))));
  listeners.use(roster.events.on('managerFound', lookAtManagers));
  listeners.use(roster.events.on('managerLost', lookAtManagers));
  const tellNetworks = (
    networks: readonly { readonly id: string; readonly name: string }[],
    action: SwarmEvent['action'],
  ): void => {
    for (const { id, name } of networks) tell({ type: 'network', action, id, name, changes: {} });
  };
  listeners.use(
    book.events.on('networks', ({ added, removed }) => {
      tellNetworks(removed, 'remove');
      tellNetworks(added, 'create');
    }),
  );
  listeners.use(book.events.on('changed', ({ network }) => tellNetworks([network], 'update')));
  return listeners;
}
