/*
 * The files of containers: changes, export and commit (Docker Engine API 1.50).
 */
import type { CommitRequest } from '../../engine/engine.ts';
import { abortSignalOf, paramOf, queryOf, type Routes } from './apiContext.ts';
import { type Decoder, list, map, pointer, raw, struct, text, words } from './goJson.ts';
import { type HealthcheckBody, healthcheckBody } from './healthShapes.ts';
import { allOf, boolOf, textOf } from './query.ts';
import { startReading } from './byteReply.ts';
import { readJson } from './requestBody.ts';

const changeKinds = { changed: 0, added: 1, deleted: 2 } as const;

interface ConfigBody {
  readonly User: string;
  readonly ExposedPorts: Readonly<Record<string, unknown>>;
  readonly Env: readonly string[] | undefined;
  readonly Cmd: readonly string[] | undefined;
  readonly Volumes: Readonly<Record<string, unknown>>;
  readonly WorkingDir: string;
  readonly Entrypoint: readonly string[] | undefined;
  readonly Labels: Readonly<Record<string, string>>;
  readonly StopSignal: string;
  readonly Healthcheck: HealthcheckBody | undefined;
}

/** The body of a commit, as far as it says how the image is to run. */
const configBody: Decoder<ConfigBody> = struct<ConfigBody>('Config', {
  User: text,
  ExposedPorts: map(raw),
  Env: list(text),
  Cmd: words,
  Volumes: map(raw),
  WorkingDir: text,
  Entrypoint: words,
  Labels: map(text),
  StopSignal: text,
  Healthcheck: pointer(healthcheckBody),
});

function setOf(named: Readonly<Record<string, unknown>>): Record<string, object> {
  return Object.fromEntries(Object.keys(named).map((name) => [name, {}]));
}

/** Undefined where nothing was sent: the container's own then. */
function toConfig(body: unknown): CommitRequest['config'] {
  if (body === undefined || body === null) return undefined;
  const config = configBody(body, '');
  const { User, ExposedPorts, Env, Cmd, Volumes, WorkingDir, Entrypoint, Labels, StopSignal } = config;
  return {
    ...(User !== '' && { User }),
    ...(Object.keys(ExposedPorts).length > 0 && { ExposedPorts: setOf(ExposedPorts) }),
    ...(Env !== undefined && { Env: [...Env] }),
    ...(Cmd !== undefined && { Cmd: [...Cmd] }),
    ...(Object.keys(Volumes).length > 0 && { Volumes: setOf(Volumes) }),
    ...(WorkingDir !== '' && { WorkingDir }),
    ...(Entrypoint !== undefined && { Entrypoint: [...Entrypoint] }),
    ...(Object.keys(Labels).length > 0 && { Labels: { ...Labels } }),
    ...(StopSignal !== '' && { StopSignal }),
    ...(config.Healthcheck !== undefined && {
      Healthcheck: { ...config.Healthcheck, Test: [...(config.Healthcheck.Test ?? [])] },
    }),
  };
}

export const fileRoutes: Routes = (app, { deps }) => {
  const { files } = deps.engine.containers;

  app.get('/containers/:id/changes', async (request, reply) => {
    const changes = await files.changes(paramOf(request, 'id'));
    const shapes = changes.map(({ path, kind }) => ({ Path: path, Kind: changeKinds[kind] }));
    // Go's nil slice, which is what Docker has then.
    return await reply.type('application/json').send(JSON.stringify(shapes.length === 0 ? null : shapes));
  });

  app.get('/containers/:id/export', async (request, reply) => {
    const parts = files.export(paramOf(request, 'id'), abortSignalOf(reply));
    return await reply.type('application/octet-stream').send(await startReading(parts));
  });

  app.post('/commit', async (request, reply) => {
    const query = queryOf(request);
    const [repository, tag] = [textOf(query, 'repo'), textOf(query, 'tag')];
    const config = toConfig(await readJson(request.raw));
    const id = await files.commit(textOf(query, 'container'), {
      ...(repository !== '' && { ref: tag === '' ? repository : `${repository}:${tag}` }),
      author: textOf(query, 'author'),
      comment: textOf(query, 'comment'),
      changes: allOf(query, 'changes'),
      pauses: textOf(query, 'pause') === '' || boolOf(query, 'pause'),
      ...(config !== undefined && { config }),
    });
    return await reply.code(201).send({ Id: id });
  });
};
