/*
 * Texts of /proc/PID/mountinfo (proc_pid_mountinfo(5)). Pure.
 */

const escapes = /\\([0-7]{3})/g;

/** The mount point of a line, whose spaces and their like are written as octal numbers; undefined for a line of none. */
export function mountPointIn(words: readonly string[]): string | undefined {
  return words[4]?.replaceAll(escapes, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
