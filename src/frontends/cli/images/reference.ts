/*
 * Image references: `busybox` means `docker.io/library/busybox:latest`. Pure.
 * Source of the grammar: github.com/distribution/reference (checked by the daemon; the CLI only completes names).
 */
import { CliError } from '../cliError.ts';

export interface Reference {
  /** `docker.io/library/busybox`. */
  readonly name: string;
  /** `busybox`: the name as people write it. */
  readonly shortName: string;
  readonly tag: string | undefined;
  readonly digest: string | undefined;
}

function withDomain(path: string): string {
  const slash = path.indexOf('/');
  const first = slash < 0 ? '' : path.slice(0, slash);
  if (slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first))
    return path.replace(/^index\.docker\.io\//, 'docker.io/');
  return slash < 0 ? `docker.io/library/${path}` : `docker.io/${path}`;
}

/** Throws CliError for text that cannot be a reference. */
export function parseReference(text: string): Reference {
  const [beforeDigest = '', digest] = text.split('@', 2);
  const match = /^(.+?)(?::([\w][\w.-]{0,127}))?$/.exec(beforeDigest);
  const path = match?.[1] ?? '';
  const last = path.split('/').at(-1) ?? '';
  if (path === '' || last.includes(':')) throw new CliError('invalid reference format');
  const name = withDomain(path);
  const repository = name.slice(name.indexOf('/') + 1);
  if (repository.toLowerCase() !== repository)
    throw new CliError('invalid reference format: repository name (' + repository + ') must be lowercase');
  if (!/^[a-z\d]+(?:(?:\.|_{1,2}|-+|\/)[a-z\d]+)*$/.test(repository))
    throw new CliError('invalid reference format');
  const shortName = name.replace(/^docker\.io\/(library\/)?/, '');
  return { name, shortName, tag: match?.[2], digest };
}

/** True for a bare image id, which is no name. */
export function isImageId(text: string): boolean {
  return /^(sha256:)?[\da-f]{64}$/.test(text);
}

/** The reference as people write it, with `:latest` where nothing is given. */
export function formatReference(text: string): string {
  const { shortName, tag, digest } = parseReference(text);
  if (digest !== undefined) return `${shortName}${tag === undefined ? '' : `:${tag}`}@${digest}`;
  return `${shortName}:${tag ?? 'latest'}`;
}
