/*
 * BuildKit's progress as the lines that Docker's builder wrote before it: `Step 2/3 : RUN …`, `---> Using cache`, what
 * the commands print. BuildKit's steps may run side by side, so their lines may mix.
 */
import type { StatusResponse, Vertex } from './schema.ts';

/** `[2/3] RUN make` and `[stage 2/3] RUN make`; undefined for BuildKit's own work. */
function stepText(name: string): string | undefined {
  const [, stage, place, text] = /^\[(?:(\S+) )?(\d+\/\d+)\] ([\s\S]*)$/.exec(name) ?? [];
  if (place === undefined) return undefined;
  return `Step ${place} : ${text}${stage === undefined ? '' : ` (${stage})`}\n`;
}

/** Says each step once, and what it prints as it comes. */
export class ProgressText {
  readonly #begun = new Set<string>();
  readonly #ended = new Set<string>();

  /** The lines for one message of Control.Status. */
  linesOf({ vertexes, logs }: StatusResponse): readonly string[] {
    const decoder = new TextDecoder();
    return [
      ...vertexes.flatMap((vertex) => this.#linesOf(vertex)),
      ...logs.map(({ msg }) => decoder.decode(msg)),
    ];
  }

  #linesOf({ digest, name, started, completed, cached }: Vertex): readonly string[] {
    const text = stepText(name);
    if (text === undefined) return [];
    const lines: string[] = [];
    if ((started !== null || cached) && !this.#begun.has(digest)) {
      this.#begun.add(digest);
      lines.push(text);
    }
    if (cached && completed !== null && !this.#ended.has(digest)) {
      this.#ended.add(digest);
      lines.push(' ---> Using cache\n');
    }
    return lines;
  }
}
