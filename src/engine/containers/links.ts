/*
 * Links between containers (`--link`), a legacy of Docker's. On a user-defined network a link is an alias in the
 * resolver's view of one container; on the default network, which has no resolver, it is lines in /etc/hosts and
 * variables in the environment. Texts and names as Docker Engine 28 makes them.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Container } from '../model.ts';

export interface Link {
  /** Name or id. */
  readonly target: string;
  readonly alias: string;
}

/** Splits `db:store`, `db`, or `/db:/web/store` as inspect shows it. Throws containerConfigInvalid. */
export function parseLink(text: string): Link {
  if (text === '') throw new LinkspanError('containerConfigInvalid', 'empty string specified for links');
  const [target = '', alias, ...more] = text.split(':');
  if (more.length > 0) throw new LinkspanError('containerConfigInvalid', `bad format for links: ${text}`);
  const lastWord = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
  const name = lastWord(target);
  return { target: name, alias: alias === undefined || alias === '' ? name : lastWord(alias) };
}

/** What one container gets to know of another through a link on the default network. */
export interface LinkedContainer {
  readonly alias: string;
  readonly container: Container;
  /** Its IPv4 address there. */
  readonly address: string;
}

/** A line of /etc/hosts: the alias, the host name and the name. */
export function linkHosts({ alias, container, address }: LinkedContainer): string {
  const hostname = container.spec.hostname ?? container.id.slice(0, 12);
  const names = [alias, hostname, ...(alias === container.name ? [] : [container.name])];
  return `${address}\t${names.join(' ')}\n`;
}

interface PortAndProtocol {
  readonly port: number;
  readonly protocol: string;
}

function portsOf(container: Container): readonly PortAndProtocol[] {
  return container.process.exposedPorts
    .map((text) => {
      const [port = '', protocol = 'tcp'] = text.split('/');
      return { port: Number(port), protocol };
    })
    .sort((a, b) => a.port - b.port || (a.protocol === 'tcp' ? -1 : 1));
}

/** Variables about the other container: where its ports are, its name, and its own variables. `self` is the owner's name. */
export function linkEnvironment(
  self: string,
  { alias, container, address }: LinkedContainer,
): readonly string[] {
  const prefix = alias.toUpperCase().replaceAll('-', '_');
  const ports = portsOf(container);
  const [first] = ports;
  const url = ({ port, protocol }: PortAndProtocol): string => `${protocol}://${address}:${port}`;
  return [
    ...(first === undefined ? [] : [`${prefix}_PORT=${url(first)}`]),
    ...ports.flatMap((one) => {
      const name = `${prefix}_PORT_${one.port}_${one.protocol.toUpperCase()}`;
      return [
        `${name}=${url(one)}`,
        `${name}_ADDR=${address}`,
        `${name}_PORT=${one.port}`,
        `${name}_PROTO=${one.protocol}`,
      ];
    }),
    `${prefix}_NAME=/${self}/${alias}`,
    ...container.process.env.flatMap((entry) => {
      const at = entry.indexOf('=');
      const name = entry.slice(0, at);
      // What every image sets says nothing.
      return at < 0 || name === 'HOME' || name === 'PATH' ? [] : [`${prefix}_ENV_${entry}`];
    }),
  ];
}
