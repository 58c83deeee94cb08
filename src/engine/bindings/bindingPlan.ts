/*
 * From what a user asks to be published, and the endpoints that take a sandbox's outside connections, to the ports that
 * have to be settled, and from settled ones to bindings. Pure. Rules and texts are Docker Engine 28's.
 */
import type { Publishing } from '../../drivers/interface.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { formatIp, type Ip, type IpFamily, parseIp } from '../../net/ip.ts';
import { formatPrefix, parseIpWithLength } from '../../net/prefix.ts';
import { type Proto, parseProto } from '../../net/proto.ts';
import type { Binding, Endpoint, PortRequest } from '../model.ts';

/** Where connections from outside go in, by family: the endpoint with the default route, if its driver publishes. */
export type Doors = Readonly<Partial<Record<IpFamily, Door>>>;

export interface Door {
  readonly endpoint: Endpoint;
  readonly publishing: Publishing;
  /** The container's address. */
  readonly target: Ip;
}

/** One container port that needs a host port, the same in each family; none where every family is routed. */
export interface Want {
  readonly request: PortRequest;
  readonly proto: Proto;
  readonly port: number;
  /** Host ports that would do, both included; undefined = any of the ephemeral range. */
  readonly choice: { readonly first: number; readonly last: number } | undefined;
  /** One a family at most. */
  readonly places: readonly { readonly hostIp: Ip; readonly isRouted: boolean }[];
  /** Equal for equal wishes, so that a change of endpoints keeps host ports. */
  readonly key: string;
}

const any: Readonly<Record<IpFamily, Ip>> = { 4: { family: 4, bits: 0n }, 6: { family: 6, bits: 0n } };

/** The address of an endpoint in a family. */
export function addressOf(endpoint: Endpoint, family: IpFamily): Ip | undefined {
  return parseIpWithLength((family === 4 ? endpoint.ipv4 : endpoint.ipv6) ?? '')?.ip;
}

/** Host addresses that a request names or means, of families that have a door. */
function hostIpsOf(request: PortRequest, doors: Doors): readonly Ip[] {
  if (request.hostIp !== '') {
    const ip = parseIp(request.hostIp);
    if (ip === undefined)
      throw new LinkspanError('containerConfigInvalid', `invalid IP address: ${request.hostIp}`);
    if (doors[ip.family] === undefined)
      throw new LinkspanError(
        'portUnavailable',
        `cannot publish port ${request.port}/${request.proto} on ${formatIp(ip)}: the container has no IPv${ip.family} connection to the outside`,
      );
    return [ip];
  }
  return ([4, 6] as const).flatMap((family) => {
    const door = doors[family];
    if (door === undefined) return [];
    const preset = door.publishing.bindingAddress;
    // A preset address of the other family means that family alone.
    if (preset !== undefined && preset.family !== family) return preset.bits === 0n ? [any[family]] : [];
    return [preset ?? any[family]];
  });
}

function choiceOf(request: PortRequest, i: number): Want['choice'] {
  const { hostPorts, count } = request;
  if (hostPorts === undefined) return undefined;
  return count === 1 ? hostPorts : { first: hostPorts.first + i, last: hostPorts.first + i };
}

/** Every port of every request; nothing where there is no door at all (host, none, internal networks). */
export function planWants(requests: readonly PortRequest[], doors: Doors): readonly Want[] {
  if (doors[4] === undefined && doors[6] === undefined) return [];
  const seen = new Map<string, number>();
  return requests.flatMap((request) => {
    const places = hostIpsOf(request, doors).map((hostIp) => ({
      hostIp,
      isRouted: doors[hostIp.family]?.publishing.modes[hostIp.family] === 'routed',
    }));
    const proto = parseProto(request.proto) ?? 'tcp';
    return Array.from({ length: request.count }, (_, i): Want => {
      const choice = choiceOf(request, i);
      const port = request.port + i;
      const name = `${proto} ${port} ${request.hostIp} ${choice === undefined ? '' : `${choice.first}-${choice.last}`}`;
      const ordinal = seen.get(name) ?? 0;
      seen.set(name, ordinal + 1);
      return { request, proto, port, choice, places, key: `${name} ${ordinal}` };
    });
  });
}

/** True where nothing of the host's is needed. */
export function isRoutedOnly(want: Want): boolean {
  return want.places.every(({ isRouted }) => isRouted);
}

export interface Settled {
  readonly want: Want;
  /** 0 for a want that is routed only. */
  readonly hostPort: number;
}

const sameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((one, i) => one === b[i]);

/** True if `next` goes on where `run` ends. */
function continues(run: Binding, next: Binding): boolean {
  return (
    run.proto === next.proto &&
    run.hostIp === next.hostIp &&
    run.endpointId === next.endpointId &&
    run.asked === next.asked &&
    run.askedIp === next.askedIp &&
    run.port + run.count === next.port &&
    (run.hostPort === 0 ? next.hostPort === 0 : run.hostPort + run.count === next.hostPort) &&
    sameList(run.sources, next.sources)
  );
}

function askedOf({ choice }: Want): string {
  if (choice === undefined) return 'any';
  return choice.first === choice.last ? 'exact' : `${choice.first}-${choice.last}`;
}

/** Bindings in order of container port, runs merged. */
export function planBindings(settled: readonly Settled[], doors: Doors): readonly Binding[] {
  const single = settled.flatMap(({ want, hostPort }) =>
    want.places.flatMap(({ hostIp, isRouted }): readonly Binding[] => {
      const door = doors[hostIp.family];
      if (door === undefined) return [];
      return [
        {
          proto: want.proto,
          port: want.port,
          count: 1,
          // What is routed is reached by no address of the host's.
          hostIp: formatIp(isRouted ? any[hostIp.family] : hostIp),
          hostPort: isRouted ? 0 : hostPort,
          sources:
            want.request.sources.length > 0
              ? want.request.sources
              : door.publishing.sources.map(formatPrefix),
          ...(door.publishing.trustedLinks.length > 0 && { trustedLinks: door.publishing.trustedLinks }),
          endpointId: door.endpoint.id,
          target: formatIp(door.target),
          asked: askedOf(want),
          askedIp: want.request.hostIp,
        },
      ];
    }),
  );
  const ordered = single.toSorted(
    (a, b) =>
      compareText(a.proto, b.proto) ||
      compareText(a.hostIp, b.hostIp) ||
      a.port - b.port ||
      a.hostPort - b.hostPort,
  );
  const runs: Binding[] = [];
  for (const binding of ordered) {
    const last = runs.at(-1);
    if (last !== undefined && continues(last, binding))
      runs[runs.length - 1] = { ...last, count: last.count + 1 };
    else runs.push(binding);
  }
  return runs;
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Host ports of bindings that stand, by the key of the want that they satisfy. */
export function settledPorts(bindings: readonly Binding[]): ReadonlyMap<string, number> {
  const found = new Map<string, number>();
  const seen = new Map<string, number>();
  for (const binding of bindings)
    for (let i = 0; i < binding.count && binding.hostPort !== 0; i++) {
      const hostPort = binding.hostPort + i;
      const choice =
        binding.asked === 'any' ? '' : binding.asked === 'exact' ? `${hostPort}-${hostPort}` : binding.asked;
      const name = `${binding.proto} ${binding.port + i} ${binding.askedIp} ${choice}`;
      // Families of one want share the port; a second wish for the same container port has another.
      const family = `${name} ${binding.hostIp}`;
      const ordinal = seen.get(family) ?? 0;
      seen.set(family, ordinal + 1);
      if (!found.has(`${name} ${ordinal}`)) found.set(`${name} ${ordinal}`, hostPort);
    }
  return found;
}

/** `32768\t60999` and `8080,9000-9100` of the kernel: the ports that it may give out by itself, in order. */
export function ephemeralPorts(range: string, reserved: string): readonly number[] {
  const [first = 0, last = 0] = range.trim().split(/\s+/).map(Number);
  const isValid = first > 0 && last >= first && last <= 65535;
  const [low, high] = isValid ? [first, last] : [49153, 65535];
  const taken = new Set(
    reserved
      .trim()
      .split(',')
      .filter((part) => part !== '')
      .flatMap((part) => {
        const [from = 0, to = from] = part.split('-').map(Number);
        return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);
      }),
  );
  return Array.from({ length: high - low + 1 }, (_, i) => low + i).filter((port) => !taken.has(port));
}
