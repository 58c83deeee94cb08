/*
 * What happens to images, in `docker events`: type image, actions pull, push, load, save, import, tag, untag, delete as
 * dockerd says them (API 1.24 on). Pull and push are of a reference, the rest of an image's id.
 */
import type { Image, ImageStore } from '../runtime/images/images.ts';
import {
  familiarName,
  familiarReference,
  parseReference,
  withDefaultTag,
} from '../runtime/images/reference.ts';
import type { EventLog } from './events.ts';

/** The familiar form of a name that has neither tag nor digest; undefined for any other, and for an id. */
function nameAlone(ref: string): string | undefined {
  if (/^(?:sha256:)?[0-9a-f]{64}$/.test(ref)) return undefined;
  const reference = parseReference(ref);
  return reference.tag === undefined && reference.digest === undefined ? familiarName(reference) : undefined;
}

/** The store, with an event for each change that was made by it. */
export function withImageEvents(images: ImageStore, events: Pick<EventLog, 'emit'>): ImageStore {
  const emit = (action: string, actorId: string, name: string, labels: Image['config']['labels']): void =>
    events.emit({ type: 'image', action, actorId, attributes: { ...labels, name } });
  const emitOf = (action: string, { id, config }: Image, name = id): void =>
    emit(action, id, name, config.labels);
  const find = (ref: string): Promise<Image | undefined> => images.get(ref).catch(() => undefined);
  /** A name without tag means all its tags. */
  const savedBy = async (ref: string): Promise<readonly Image[]> => {
    const name = nameAlone(ref);
    const all = name === undefined ? [] : await images.list();
    const tagged = all.filter(({ tags }) => tags.some((tag) => familiarName(parseReference(tag)) === name));
    const named = tagged.length > 0 ? undefined : await find(ref);
    return named === undefined ? tagged : [named];
  };
  const emitTag = (image: Image, target: string): void =>
    emitOf('tag', image, familiarReference(withDefaultTag(parseReference(target))));

  return {
    ...images,
    pull: async (ref, options, onProgress) => {
      const image = await images.pull(ref, options, onProgress);
      const given = parseReference(ref);
      const reference = options.isAllTags === true ? given : withDefaultTag(given);
      emit('pull', familiarReference(reference), familiarName(reference), image.config.labels);
      return image;
    },
    push: async (ref, options, onProgress) => {
      await images.push(ref, options, onProgress);
      const reference = parseReference(ref);
      const labels = (await find(ref))?.config.labels ?? {};
      emit('push', familiarReference(reference), familiarName(reference), labels);
    },
    load: async (tar, onProgress, platform) => {
      const loaded = await images.load(tar, onProgress, platform);
      const found = await Promise.all(loaded.map(find));
      for (const image of new Map(found.map((one) => [one?.id, one])).values())
        if (image !== undefined) emitOf('load', image);
      return loaded;
    },
    save: async function* (names, options) {
      yield* images.save(names, options);
      const saved = (await Promise.all(names.map(savedBy))).flat();
      for (const image of new Map(saved.map((one) => [one.id, one])).values()) emitOf('save', image);
    },
    import: async (tar, options) => {
      const image = await images.import(tar, options);
      emitOf('import', image);
      if (options.ref !== undefined) emitTag(image, options.ref);
      return image;
    },
    commit: async (containerId, imageId, options) => {
      const image = await images.commit(containerId, imageId, options);
      if (options.ref !== undefined) emitTag(image, options.ref);
      return image;
    },
    tag: async (ref, target) => {
      await images.tag(ref, target);
      const image = await find(ref);
      if (image !== undefined) emitTag(image, target);
    },
    remove: async (ref, options) => {
      const image = await images.get(ref);
      const steps = await images.remove(ref, options);
      for (const step of steps)
        if ('untagged' in step) emitOf('untag', image);
        else if (step.deleted === image.id) emitOf('delete', image);
      return steps;
    },
  };
}
