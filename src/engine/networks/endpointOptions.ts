/*
 * Docker's options of one endpoint (`--driver-opt` of connect and of the long form of `--network`): the interface's
 * name and its kernel parameters. Pure. Texts are Docker Engine 28's; an option that nobody reads is refused.
 */
import type { Sysctl } from '../../kernel/kernel.ts';
import type { AttachmentRequest } from '../model.ts';

const nameLabel = 'com.docker.network.endpoint.ifname';
const sysctlsLabel = 'com.docker.network.endpoint.sysctls';
const known: ReadonlySet<string> = new Set([nameLabel, sysctlsLabel]);

type Options = Pick<AttachmentRequest, 'driverOptions'>;

/** The name that the interface must have; undefined = the next free one. */
export function wantedInterfaceName({ driverOptions }: Options): string | undefined {
  return driverOptions[nameLabel];
}

/** `net.ipv4.conf.IFNAME.log_martians=1`; the docker CLI makes lower case of it. The last name may have dots. */
function parseSysctl(
  text: string,
): { readonly words: readonly string[]; readonly value: string } | undefined {
  const match = /^net\.(ipv4|ipv6|mpls)\.(\w+)\.(?:IFNAME|ifname)\.([\w.-]+)=(.*)$/s.exec(text);
  if (match === null) return undefined;
  const [, family = '', table = '', name = '', value = ''] = match;
  return name.includes('..') ? undefined : { words: ['net', family, table, '', name], value };
}

function sysctlTexts({ driverOptions }: Options): readonly string[] {
  const text = driverOptions[sysctlsLabel];
  return text === undefined ? [] : text.split(',');
}

/** Of an attachment that has been checked. */
export function sysctlsOf(request: Options, interfaceName: string): readonly Sysctl[] {
  return sysctlTexts(request).flatMap((text) => {
    const parsed = parseSysctl(text);
    if (parsed === undefined) return [];
    return { key: parsed.words.with(3, interfaceName).join('/'), value: parsed.value };
  });
}

/** A name that the kernel takes for a link (dev_valid_name): 1 to 15 bytes, no slash, colon or white space. */
function isInterfaceName(name: string): boolean {
  return (
    /^[^/:\s]+$/.test(name) &&
    Buffer.byteLength(name) <= 15 &&
    !['.', '..', 'lo', 'all', 'default'].includes(name)
  );
}

/** What is wrong with the options, one text each. */
export function endpointOptionProblems(request: Options): readonly string[] {
  const name = wantedInterfaceName(request);
  return [
    ...Object.keys(request.driverOptions)
      .filter((label) => !known.has(label))
      .map((label) => `unknown endpoint option ${JSON.stringify(label)}`),
    ...(name === undefined || isInterfaceName(name) ? [] : [`invalid interface name: ${name}`]),
    ...sysctlTexts(request)
      .filter((text) => parseSysctl(text) === undefined)
      .map(
        (text) =>
          `unrecognised network interface sysctl '${text}'; represent 'net.X.Y.ethN.Z=V' as 'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'`,
      ),
  ];
}
