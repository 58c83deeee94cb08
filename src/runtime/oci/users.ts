/*
 * Who a process runs as: `user[:group]`, names or numbers, looked up in the texts of the image's /etc/passwd and
 * /etc/group (passwd(5), group(5)) as Docker does. Pure; whoever has the root file system reads the files.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

export interface ProcessUser {
  readonly uid: number;
  readonly gid: number;
  /** Includes the primary group, so that dropping it needs CAP_SETGID (CVE-2022-36109). */
  readonly additionalGids: readonly number[];
  /** `/` when the user has no entry. */
  readonly home: string;
}

/** The two account files; empty text where a file is missing. */
export interface AccountFiles {
  readonly passwd: string;
  readonly group: string;
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

interface GroupEntry {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/** uid_t and gid_t that a name-less number may have; the top half is refused as Docker does. */
const maxId = 2 ** 31 - 1;

function fieldsOf(text: string): readonly (readonly string[])[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

function parsePasswd(text: string): readonly PasswdEntry[] {
  return fieldsOf(text).map(([name = '', , uid = '', gid = '', , home = '']) => ({
    name,
    uid: Number.parseInt(uid, 10) || 0,
    gid: Number.parseInt(gid, 10) || 0,
    home,
  }));
}

function parseGroup(text: string): readonly GroupEntry[] {
  return fieldsOf(text).map(([name = '', , gid = '', members = '']) => ({
    name,
    gid: Number.parseInt(gid, 10) || 0,
    members: members.split(',').filter((member) => member !== ''),
  }));
}

function parseId(text: string): number | undefined {
  return /^\d+$/.test(text) ? Number(text) : undefined;
}

function checkRange(id: number): number {
  if (id <= maxId) return id;
  throw new LinkspanError('containerStartFailed', 'uids and gids must be in range 0-2147483647');
}

function findGroup(groups: readonly GroupEntry[], wanted: string): number {
  const id = parseId(wanted);
  const entry = groups.find((group) => group.name === wanted || group.gid === id);
  if (entry !== undefined) return entry.gid;
  if (id !== undefined) return checkRange(id);
  throw new LinkspanError(
    'containerStartFailed',
    `unable to find group ${wanted}: no matching entries in group file`,
  );
}

function findUser(users: readonly PasswdEntry[], wanted: string): PasswdEntry | number {
  const id = parseId(wanted);
  const entry = users.find((user) => user.name === wanted || user.uid === id);
  if (entry !== undefined) return entry;
  if (id !== undefined) return checkRange(id);
  throw new LinkspanError(
    'containerStartFailed',
    `unable to find user ${wanted}: no matching entries in passwd file`,
  );
}

/**
 * Resolves `spec` (`''` = root, `1000`, `www`, `www:adm`, `1000:50`) and `groupAdd` (names or numbers).
 * A group given in `spec` replaces the user's supplementary groups. Throws containerStartFailed with Docker's text
 * for a name that is in no file or a number out of range.
 */
export function resolveUser(spec: string, groupAdd: readonly string[], files: AccountFiles): ProcessUser {
  const [userPart = '', groupPart = ''] = spec.split(':', 2);
  const groups = parseGroup(files.group);
  const found = findUser(parsePasswd(files.passwd), userPart === '' ? '0' : userPart);
  const entry = typeof found === 'number' ? undefined : found;
  const gid = groupPart === '' ? (entry?.gid ?? 0) : findGroup(groups, groupPart);
  const supplementary =
    groupPart === '' && entry !== undefined
      ? groups.filter((group) => group.members.includes(entry.name)).map((group) => group.gid)
      : [];
  const additional = groupAdd.map((group) => findGroup(groups, group));
  return {
    uid: entry?.uid ?? (found as number),
    gid,
    additionalGids: [...new Set([gid, ...supplementary, ...additional])],
    home: entry === undefined || entry.home === '' ? '/' : entry.home,
  };
}
