/*
 * Image names: what users type (`busybox`, `me/app:1`, `host:5000/x@sha256:…`), the full form that images are kept
 * under, and back. Pure. Grammar and defaults are those of Docker's reference package (docs: "image name format").
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

export interface Reference {
  /** Registry host, with port if any: `docker.io`. */
  readonly domain: string;
  /** Below the host: `library/busybox`. */
  readonly path: string;
  readonly tag?: string;
  /** `sha256:…` */
  readonly digest?: string;
}

/** Docker Hub's, and that of a name without a registry. */
export const hubDomain = 'docker.io';
const officialPrefix = 'library/';
const nameMaxLength = 255;

const pathComponent = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const pathPattern = new RegExp(`^${pathComponent}(?:/${pathComponent})*$`);
const hostComponent = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const domainPattern = new RegExp(
  `^(?:${hostComponent}(?:\\.${hostComponent})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`,
);
const tagPattern = /^[A-Za-z0-9_][\w.-]{0,127}$/;
const digestPattern = /^sha256:[a-f0-9]{64}$/;
const idPattern = /^[a-f0-9]{64}$/;

function refuse(text: string): never {
  throw new LinkspanError('requestInvalid', `invalid reference format${text}`);
}

/** True for `sha256:` and 64 lower-case hex digits. */
export function isDigest(text: string): boolean {
  return digestPattern.test(text);
}

/** True for a tag as such: `latest`. */
export function isTag(text: string): boolean {
  return tagPattern.test(text);
}

function splitDomain(name: string): { readonly domain: string; readonly path: string } {
  const slash = name.indexOf('/');
  const head = slash < 0 ? '' : name.slice(0, slash);
  // Only what looks like a host is one: a dot, a port, localhost, or an upper-case letter.
  const isHost = /[.:]/.test(head) || head === 'localhost' || head.toLowerCase() !== head;
  if (slash >= 0 && isHost) {
    const domain = head === 'index.docker.io' ? hubDomain : head;
    const path = name.slice(slash + 1);
    return { domain, path: domain === hubDomain && !path.includes('/') ? officialPrefix + path : path };
  }
  return { domain: hubDomain, path: slash < 0 ? officialPrefix + name : name };
}

/** Parses what a user types; throws requestInvalid with Docker's text. Adds no tag. */
export function parseReference(text: string): Reference {
  if (text === '') refuse('');
  if (idPattern.test(text))
    throw new LinkspanError(
      'requestInvalid',
      `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
    );
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !digestPattern.test(digest)) refuse('');
  const rest = at < 0 ? text : text.slice(0, at);
  const colon = rest.lastIndexOf(':');
  const hasTag = colon > rest.lastIndexOf('/');
  const tag = hasTag ? rest.slice(colon + 1) : undefined;
  if (tag !== undefined && !tagPattern.test(tag)) refuse('');
  const { domain, path } = splitDomain(hasTag ? rest.slice(0, colon) : rest);
  if (!domainPattern.test(domain)) refuse('');
  if (!pathPattern.test(path)) {
    if (pathPattern.test(path.toLowerCase()))
      throw new LinkspanError(
        'requestInvalid',
        `invalid reference format: repository name (${path}) must be lowercase`,
      );
    refuse('');
  }
  if (`${domain}/${path}`.length > nameMaxLength)
    throw new LinkspanError('requestInvalid', 'repository name must not be more than 255 characters');
  return { domain, path, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/** The same with `latest` where neither tag nor digest was given. */
export function withDefaultTag(reference: Reference): Reference {
  return reference.tag === undefined && reference.digest === undefined
    ? { ...reference, tag: 'latest' }
    : reference;
}

/** `docker.io/library/busybox`: the name without tag and digest. */
export function formatName(reference: Reference): string {
  return `${reference.domain}/${reference.path}`;
}

function suffix(reference: Reference): string {
  return (
    (reference.tag === undefined ? '' : `:${reference.tag}`) +
    (reference.digest === undefined ? '' : `@${reference.digest}`)
  );
}

/** `docker.io/library/busybox:latest`: the full form, under which images are kept. */
export function formatReference(reference: Reference): string {
  return formatName(reference) + suffix(reference);
}

/** `busybox`: the name as users see it. */
export function familiarName(reference: Reference): string {
  if (reference.domain !== hubDomain) return formatName(reference);
  const path = reference.path;
  return path.startsWith(officialPrefix) && !path.slice(officialPrefix.length).includes('/')
    ? path.slice(officialPrefix.length)
    : path;
}

/** `busybox:latest`: as users see it. */
export function familiarReference(reference: Reference): string {
  return familiarName(reference) + suffix(reference);
}
