/*
 * What volumes may be called: the name is a folder's, so that nothing in it may lead elsewhere. Rules and texts are
 * those of Docker Engine 28's local driver.
 */
import { LinkspanError } from '../../errors/linkspanError.ts';

/** NAME_MAX of Linux file systems, in bytes; a valid name has one for each character. */
const maxNameBytes = 255;

function hasValidCharacters(name: string): boolean {
  return /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name);
}

/** True for a name that a volume may have. */
export function isVolumeName(name: string): boolean {
  return hasValidCharacters(name) && name.length <= maxNameBytes;
}

/** Throws code volumeInvalid. */
export function checkVolumeName(name: string): void {
  if (name.length === 1)
    throw new LinkspanError(
      'volumeInvalid',
      `create ${name}: volume name is too short, names should be at least two alphanumeric characters`,
    );
  if (isVolumeName(name)) return;
  // Docker leaves this one to mkdir, whose error is a 500.
  if (hasValidCharacters(name))
    throw new LinkspanError(
      'volumeInvalid',
      `create ${name.slice(0, 32)}...: volume name is too long, names should be at most ${maxNameBytes} characters`,
    );
  throw new LinkspanError(
    'volumeInvalid',
    `create ${name}: ${JSON.stringify(name)} includes invalid characters for a local volume name, only ` +
      '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path',
  );
}
