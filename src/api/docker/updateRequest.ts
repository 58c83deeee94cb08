/*
 * POST /containers/{id}/update in our words (Docker Engine API 1.50, UpdateConfig): Docker's Resources and a restart
 * policy.
 */
import type { ContainerChange } from '../../engine/model.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { restartPolicyBody } from './containerBody.ts';
import { toRestartPolicy } from './containerRequest.ts';
import { type Decoder, struct } from './goJson.ts';
import { findFixedField, type ResourcesBody, resourceFields, toChangedLimits } from './limitBody.ts';

interface UpdateBody extends ResourcesBody {
  readonly RestartPolicy: { readonly Name: string; readonly MaximumRetryCount: number };
}

const updateBody: Decoder<UpdateBody> = struct<UpdateBody>('UpdateConfig', {
  ...resourceFields,
  RestartPolicy: restartPolicyBody,
});

/** `json` is the parsed body. Throws kinds invalid and notImplemented. */
export function toContainerChange(json: unknown): ContainerChange {
  const body = updateBody(json, '');
  const fixed = findFixedField(body);
  if (fixed !== undefined)
    throw new LinkspanError('notImplemented', `${fixed} of a container that exists cannot be changed`);
  const policy = toRestartPolicy(body.RestartPolicy);
  return {
    limits: toChangedLimits(body),
    ...(body.RestartPolicy.Name !== '' && { restartPolicy: policy }),
  };
}
