/*
 * Rules on the house itself, as pure functions over texts, so that each can be shown a planted violation:
 * sizes, opening comments, documented dependencies and error codes, README commands, and no path of one machine.
 * Every sentence says what to do instead.
 */
import type { SourceFile } from './layers.ts';

const maxLines = 600;

/** Files that have outgrown one reading. */
export function tooLong(files: readonly SourceFile[]): readonly string[] {
  return files
    .map(({ path, text }) => ({ path, lines: text.split('\n').length - 1 }))
    .filter(({ lines }) => lines > maxLines)
    .map(
      ({ path, lines }) => `${path} has ${lines} lines, ${maxLines} is the most: split it by what it does`,
    );
}

/** TypeScript files and scripts that do not open with a comment. */
export function withoutOpeningComment(files: readonly SourceFile[]): readonly string[] {
  return files
    .filter(({ path, text }) => {
      const body = text.replace(/^#!.*\n/, '');
      return path.endsWith('.test.ts') ? false : !/^(\/\*|\/\/|#)/.test(body);
    })
    .map(({ path }) => `${path} does not open with a comment: say what it is for, and what not`);
}

/** Runtime dependencies without a row in docs/dependencies.md, and rows without a dependency. */
export function undocumentedDependencies(
  dependencies: readonly string[],
  document: string,
): readonly string[] {
  const rows = [...document.matchAll(/^\| `([^`]+)` \|/gm)].map((match) => match[1] ?? '');
  return [
    ...dependencies
      .filter((name) => !rows.includes(name))
      .map((name) => `package.json depends on ${name}: add its row with the reason to docs/dependencies.md`),
    ...rows
      .filter((name) => !dependencies.includes(name))
      .map((name) => `docs/dependencies.md has a row for ${name}, which package.json lacks: remove it`),
  ];
}

/** `npm run X` and `npm X` in a document, for which package.json has no script. */
export function unknownCommands(
  document: string,
  path: string,
  scripts: readonly string[],
): readonly string[] {
  const named = [...document.matchAll(/npm (run [\w:-]+|test|start)\b/g)].map((match) =>
    (match[1] ?? '').replace(/^run /, ''),
  );
  return [...new Set(named)]
    .filter((name) => !scripts.includes(name))
    .map((name) => `${path} names 'npm run ${name}', which package.json lacks: add the script or correct it`);
}

/** Files of this checkout that a document names in backquotes (bin/, scripts/, docs/ …) and that do not exist. */
export function missingFiles(
  document: string,
  path: string,
  exists: (file: string) => boolean,
): readonly string[] {
  const named = [
    ...document.matchAll(/[`(]((?:bin|scripts|docs|tools|tests|src|packaging|bench)\/[\w./-]*\w)/g),
  ].map((match) => match[1] ?? '');
  return [...new Set(named)]
    .filter((file) => !exists(file))
    .map((file) => `${path} names ${file}, which does not exist: correct it`);
}

/** Error codes without a row in docs/errors.md, and rows without a code. */
export function undocumentedCodes(
  codes: Readonly<Record<string, string>>,
  document: string,
): readonly string[] {
  const rows = new Map(
    [...document.matchAll(/^\| `(\w+)` \| (\w+) \|/gm)].map((match) => [match[1] ?? '', match[2] ?? '']),
  );
  return [
    ...Object.entries(codes)
      .filter(([code, kind]) => rows.get(code) !== kind)
      .map(([code, kind]) => `error code ${code} (${kind}) has no such row in docs/errors.md: add it`),
    ...[...rows.keys()]
      .filter((code) => codes[code] === undefined)
      .map((code) => `docs/errors.md has a row for ${code}, which errors/codes.ts lacks: remove it`),
  ];
}

/** Fields of log lines that have another name everywhere else; `err` alone is written with type and stack. */
export function oddLogFields(files: readonly SourceFile[]): readonly string[] {
  const instead: Readonly<Record<string, string>> = {
    error: 'err',
    sandbox: 'endpoint, or container and id',
    bridge: 'network, or link',
  };
  return files.flatMap(({ path, text }) =>
    [...text.matchAll(/logger\.(?:debug|info|warn|error)\(\s*\{([^}]*)\}/g)].flatMap((match) =>
      (match[1] ?? '')
        .split(',')
        .map((field) => field.split(':')[0]?.trim() ?? '')
        .filter((name) => instead[name] !== undefined)
        .map((name) => `${path} logs a field ${name}: call it ${instead[name]} (src/base/logger.ts)`),
    ),
  );
}

/** Paths that exist on one developer's machine only. */
export function machinePaths(files: readonly SourceFile[]): readonly string[] {
  const pattern = new RegExp(['/', 'work', '/|/', 'home', '/\\w+/'].join(''));
  return files.flatMap(({ path, text }) => {
    const line = text.split('\n').findIndex((content) => pattern.test(content));
    return line === -1
      ? []
      : [`${path}:${line + 1} names a path of one machine: derive it, or use a variable`];
  });
}
