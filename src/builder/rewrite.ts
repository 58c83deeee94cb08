/*
 * A solve on its way from a client of Docker to a BuildKit: the exporter `moby`, which only Docker's own copy has, becomes
 * `docker`, whose archive ends in our store (imports.ts). All else, known here or not, stays as it is.
 */
import { splitFields } from '../codec/protobuf/rawFields.ts';
import type { Wire } from '../codec/protobuf/wire.ts';
import type { Exporter, SolveRequest } from './schema.ts';

export interface RewrittenSolve {
  readonly bytes: Uint8Array;
  readonly sessionId: string;
  /** The exporters, by their place, whose archives are for our store. */
  readonly imported: readonly number[];
}

/** SolveRequest's exporter, exporter_attrs and exporters. */
const exporterFields = [3, 4, 13];
const policyField = 12;
/** What is about Docker's store, or done by another exporter. */
const ofStore = ['push', 'push-by-digest', 'unpack', 'store', 'dangling-name-prefix', 'name-canonical'];

function isPushed({ type, attrs }: Exporter): boolean {
  return type === 'moby' && /^(1|t|true)$/i.test(attrs['push'] ?? '');
}

function toArchive(exporter: Exporter): Exporter {
  if (exporter.type !== 'moby') return exporter;
  const kept = Object.entries(exporter.attrs).filter(([name]) => !ofStore.includes(name));
  return { type: 'docker', attrs: Object.fromEntries(kept) };
}

/** `policy` is added to the rules that the request has (SolveRequest.source_policy). */
export function rewriteSolve(wire: Wire, message: Uint8Array, policy?: object): RewrittenSolve {
  const codec = wire.message('SolveRequest');
  const request = codec.deserialize(message) as SolveRequest;
  const { exporter: type, exporter_attrs: attrs, session: sessionId } = request;
  const given = request.exporters.length > 0 || type === '' ? request.exporters : [{ type, attrs }];
  const imported = given.flatMap((one, place) => (one.type === 'moby' ? [place] : []));
  const replaced: number[] = [];
  const added: Uint8Array[] = [];
  const fields = splitFields(message);
  if (imported.length > 0) {
    const exporters = [
      ...given.map(toArchive),
      // BuildKit itself pushes what Docker would have pushed from its store; behind the others, whose places stay. buildx
      // leaves it to BuildKit where workers name a snapshotter, by which it knows Docker's with containerd's store: all do
      // that stand alone.
      ...given.filter(isPushed).map((one) => ({ type: 'image', attrs: { ...one.attrs, store: 'false' } })),
    ];
    const [first] = exporters;
    replaced.push(...exporterFields);
    added.push(codec.serialize({ exporter: first?.type, exporter_attrs: first?.attrs, exporters }));
  }
  if (policy !== undefined) {
    replaced.push(policyField);
    const before = fields.filter(({ number }) => number === policyField).map(({ value }) => value);
    // Messages one behind the other are one message with the rules of both.
    const both = Buffer.concat([...before, wire.message('SourcePolicy').serialize(policy)]);
    added.push(wire.message('PolicyBytes').serialize({ source_policy: both }));
  }
  const kept = fields.filter(({ number }) => !replaced.includes(number)).map(({ bytes }) => bytes);
  return { bytes: Buffer.concat([...kept, ...added]), sessionId, imported };
}
