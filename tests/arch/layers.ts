/*
 * Reads src/layers.json and the imports of every source file, and lists what breaks the table.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

interface LayerRow {
  readonly folder: string;
  readonly layer: number;
  readonly why: string;
  /** Sub-folders count as siblings that must not import each other. */
  readonly siblingFolders?: boolean;
  /** The only other folders that this one may import. */
  readonly only?: readonly string[];
}

export interface SourceFile {
  /** Relative to src, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

export function readLayers(root: string): readonly LayerRow[] {
  return (JSON.parse(readFileSync(join(root, 'layers.json'), 'utf8')) as { layers: LayerRow[] }).layers;
}

export function readSources(root: string): readonly SourceFile[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .map((path) => ({ path, text: readFileSync(join(root, path), 'utf8') }));
}

/** One sentence per import that the table forbids, and per table row that matches nothing. */
export function violations(layers: readonly LayerRow[], sources: readonly SourceFile[]): readonly string[] {
  const rows = new Map(layers.map((row) => [row.folder, row]));
  const found: string[] = [];
  for (const row of layers) {
    if (!sources.some(({ path }) => path.startsWith(`${row.folder}/`)))
      found.push(`layers.json names src/${row.folder}, which has no source file: remove the row`);
  }
  for (const { path, text } of sources) {
    const [folder = '', ...below] = path.split('/');
    const row = rows.get(folder);
    if (row === undefined) {
      found.push(
        `src/${path} is in a folder that layers.json does not name: add a row with its reason, or move it`,
      );
      continue;
    }
    for (const match of text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)) {
      const target = join(dirname(path), match[1] ?? '');
      const [targetFolder = '', ...targetBelow] = target.split('/');
      const targetRow = rows.get(targetFolder);
      if (targetRow === undefined) {
        found.push(`src/${path} imports ${target}, outside every layer`);
      } else if (targetFolder !== folder) {
        if (targetRow.layer >= row.layer)
          found.push(
            `src/${path} (layer ${row.layer}) imports ${target} (layer ${targetRow.layer}): move the shared part down, or hand it in`,
          );
        if (row.only !== undefined && !row.only.includes(targetFolder))
          found.push(`src/${path} imports ${target}: ${folder} may import only ${row.only.join(', ')}`);
      } else if (
        row.siblingFolders === true &&
        targetBelow.length > 1 &&
        below.length > 1 &&
        targetBelow[0] !== below[0]
      ) {
        found.push(`src/${path} imports its sibling ${target}: move the shared part to a lower layer`);
      }
    }
  }
  return found;
}
