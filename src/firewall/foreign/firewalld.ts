/*
 * firewalld's nftables backend has no chain for others; its extension point is a zone. Our bridges are put into the
 * zone `trusted` (target ACCEPT, always there) at run time only: nothing is written to its permanent configuration.
 * A bridge that the administrator has put into another zone stays there.
 * Contract: firewalld.dbus(5), interface org.fedoraproject.FirewallD1.zone.
 */
import { messageOf } from '../../errors/linkspanError.ts';
import type { HostTools } from './hostTools.ts';

const zone = 'trusted';

function call(
  tools: HostTools,
  member: string,
  ...args: readonly string[]
): Promise<readonly string[] | undefined> {
  return tools.call({
    destination: 'org.fedoraproject.FirewallD1',
    path: '/org/fedoraproject/FirewallD1',
    interface: 'org.fedoraproject.FirewallD1.zone',
    member,
    args,
  });
}

/** Errors that mean the wished state, or one that the administrator chose. */
const isSettled = (error: unknown): boolean =>
  /ZONE_ALREADY_SET|ALREADY_ENABLED|ZONE_CONFLICT|UNKNOWN_INTERFACE|NOT_ENABLED/.test(messageOf(error));

/** Puts each bridge into the zone. Resolves with false where firewalld has no bus to talk on. Throws what it answers. */
export async function ensureTrusted(tools: HostTools, bridges: readonly string[]): Promise<boolean> {
  const present = await call(tools, 'getInterfaces', zone);
  if (present === undefined) return false;
  for (const bridge of bridges.filter((name) => !present.includes(name))) {
    try {
      await call(tools, 'addInterface', zone, bridge);
    } catch (error) {
      if (!isSettled(error)) throw error;
    }
  }
  return true;
}

/** Takes the bridges out of the zone; success where firewalld or the binding is gone. */
export async function removeTrusted(tools: HostTools, bridges: readonly string[]): Promise<void> {
  for (const bridge of bridges) {
    try {
      await call(tools, 'removeInterface', zone, bridge);
    } catch (error) {
      if (!isSettled(error) && !/ServiceUnknown|NameHasNoOwner/.test(messageOf(error))) throw error;
    }
  }
}
