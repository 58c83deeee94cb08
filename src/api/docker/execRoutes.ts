/*
 * Exec: create, inspect, resize (Docker Engine API 1.50). Start is in hijackRoutes.ts.
 */
import type { Exec, ExecSpec } from '../../engine/engine.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { ConsoleSize } from '../../runtime/oci/spec.ts';
import { paramOf, queryOf, type Routes } from './apiContext.ts';
import { consoleSizeBody, consoleSizeField } from './consoleSize.ts';
import { sizeOf } from './containerRoutes.ts';
import { bool, type Decoder, list, struct, text, words } from './goJson.ts';
import { readBody } from './requestBody.ts';

interface ExecBody {
  readonly User: string;
  readonly Privileged: boolean;
  readonly Tty: boolean;
  readonly ConsoleSize: ConsoleSize | undefined;
  readonly AttachStdin: boolean;
  readonly AttachStdout: boolean;
  readonly AttachStderr: boolean;
  readonly DetachKeys: string;
  readonly Env: readonly string[] | undefined;
  readonly WorkingDir: string;
  readonly Cmd: readonly string[] | undefined;
}

const execBody: Decoder<ExecBody> = struct<ExecBody>('ExecOptions', {
  User: text,
  Privileged: bool,
  Tty: bool,
  ConsoleSize: consoleSizeBody,
  AttachStdin: bool,
  AttachStdout: bool,
  AttachStderr: bool,
  DetachKeys: text,
  Env: list(text),
  WorkingDir: text,
  Cmd: words,
});

function toExecSpec(body: ExecBody, version: string): ExecSpec {
  const args = body.Cmd ?? [];
  if (args.length === 0) throw new LinkspanError('requestInvalid', 'no exec command specified');
  return {
    args,
    env: body.Env ?? [],
    ...(body.WorkingDir !== '' && { workingDir: body.WorkingDir }),
    ...(body.User !== '' && { user: body.User }),
    isTty: body.Tty,
    isPrivileged: body.Privileged,
    attach: { stdin: body.AttachStdin, stdout: body.AttachStdout, stderr: body.AttachStderr },
    ...(body.DetachKeys !== '' && { detachKeys: body.DetachKeys }),
    ...consoleSizeField(body.ConsoleSize, version),
  };
}

function execShape({ id, containerId, spec, state, pid, exitCode }: Exec): Record<string, unknown> {
  const [entrypoint = '', ...args] = spec.args;
  return {
    ID: id,
    Running: state === 'running',
    ExitCode: exitCode ?? null,
    ProcessConfig: {
      tty: spec.isTty,
      entrypoint,
      arguments: args,
      privileged: spec.isPrivileged,
      ...(spec.user !== undefined && { user: spec.user }),
    },
    OpenStdin: spec.attach.stdin,
    OpenStderr: spec.attach.stderr,
    OpenStdout: spec.attach.stdout,
    CanRemove: false,
    ContainerID: containerId,
    DetachKeys: '',
    Pid: pid,
  };
}

export const execRoutes: Routes = (app, { deps, versionOf }) => {
  const { containers } = deps.engine;

  app.post('/containers/:id/exec', async (request, reply) => {
    const spec = toExecSpec(await readBody(request.raw, execBody), versionOf(request.raw));
    const { id } = await containers.execCreate(paramOf(request, 'id'), spec);
    return await reply.code(201).send({ Id: id });
  });

  app.get('/exec/:id/json', (request) => execShape(containers.execGet(paramOf(request, 'id'))));

  app.post('/exec/:id/resize', async (request, reply) => {
    await containers.execResize(paramOf(request, 'id'), sizeOf(queryOf(request)));
    return await reply.code(200).send();
  });
};
