/*
 * What `rmi` may do, decided before anything is done. Pure. The order of the questions and the texts are Docker's
 * (Engine 28, image delete): a name only untags while others point at the image; what containers use is kept.
 */
import { shortId } from '../../base/ids.ts';
import { LinkspanError } from '../../errors/linkspanError.ts';
import { familiarReference, formatName, type Reference } from './reference.ts';

export interface RemovalQuestion {
  /** `sha256:…` of the image that `ref` was found to mean. */
  readonly imageId: string;
  /** The name given; undefined where an id or a prefix of one was. */
  readonly named: Reference | undefined;
  /** Every name that points at the image, with tag or digest. */
  readonly references: readonly Reference[];
  readonly users: readonly { readonly id: string; readonly isRunning: boolean }[];
  readonly isForced: boolean;
}

export interface RemovalPlan {
  readonly untag: readonly Reference[];
  readonly isDeleted: boolean;
}

function shortImageId(imageId: string): string {
  return shortId(imageId.replace('sha256:', ''));
}

/** At most one tag, and all in one repository. */
function isSingle(references: readonly Reference[]): boolean {
  if (references.length <= 1) return true;
  const tags = references.filter(({ tag, digest }) => tag !== undefined && digest === undefined);
  return tags.length <= 1 && new Set(references.map(formatName)).size === 1;
}

function conflict(text: string): LinkspanError {
  return new LinkspanError('imageInUse', `conflict: ${text}`);
}

/** What keeps the image from being deleted; undefined if nothing does. Soft reasons yield to force. */
function findConflict(
  question: RemovalQuestion,
  remaining: readonly Reference[],
  withReferences: boolean,
): LinkspanError | undefined {
  const id = shortImageId(question.imageId);
  const running = question.users.find(({ isRunning }) => isRunning);
  if (running !== undefined)
    return conflict(
      `unable to delete ${id} (cannot be forced) - image is being used by running container ${shortId(running.id)}`,
    );
  if (question.isForced) return undefined;
  if (withReferences && remaining.length > 0)
    return conflict(`unable to delete ${id} (must be forced) - image is referenced in multiple repositories`);
  const [stopped] = question.users;
  if (stopped === undefined) return undefined;
  return conflict(
    `unable to delete ${id} (must be forced) - image is being used by stopped container ${shortId(stopped.id)}`,
  );
}

function planByName(question: RemovalQuestion, named: Reference): RemovalPlan {
  const { references } = question;
  const [user] = question.users;
  if (!question.isForced && isSingle(references) && user !== undefined)
    throw conflict(
      `unable to remove repository reference "${familiarReference(named)}" (must force) - container ` +
        `${shortId(user.id)} is using its referenced image ${shortImageId(question.imageId)}`,
    );
  const given = familiarReference(named);
  const untag = references.filter((reference) => familiarReference(reference) === given);
  let remaining = references.filter((reference) => familiarReference(reference) !== given);
  // With the last tag of a repository its digests go too: nobody could see them any more.
  const own = remaining.filter((reference) => formatName(reference) === formatName(named));
  if (named.digest === undefined && own.every(({ digest }) => digest !== undefined)) {
    untag.push(...own);
    remaining = remaining.filter((reference) => !own.includes(reference));
  }
  if (remaining.length > 0) return { untag, isDeleted: false };
  // A conflict here only keeps the image, without a name: the name was asked to go, and went.
  return { untag, isDeleted: findConflict(question, [], true) === undefined };
}

/** What to untag and whether the image goes. Throws imageInUse with Docker's text. */
export function planRemoval(question: RemovalQuestion): RemovalPlan {
  if (question.named !== undefined) return planByName(question, question.named);
  const reason = findConflict(question, question.references, !isSingle(question.references));
  if (reason !== undefined) throw reason;
  return { untag: question.references, isDeleted: true };
}
