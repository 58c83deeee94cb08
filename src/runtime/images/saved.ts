/*
 * What the names given to `save` mean: a name with a tag is that tag, a name alone all its tags, an id the image without a
 * name (moby, tarexport).
 */
import { hasCode, LinkspanError } from '../../errors/linkspanError.ts';
import type { Image } from './images.ts';
import { fitsPlatform, formatPlatform, parsePlatform } from './manifest.ts';
import type { ImageName } from './names.ts';
import { formatName, parseReference, type Reference } from './reference.ts';

export interface FoundImage {
  readonly image: Image;
  readonly names: readonly ImageName[];
}

/** The image, and the name by which it was found; undefined where that was an id. Throws imageNotFound. */
type Find = (ref: string) => Promise<FoundImage & { readonly named: Reference | undefined }>;

export interface WantedImage {
  readonly found: FoundImage;
  /** By their full text. */
  readonly tags: Map<string, Reference>;
}

const idPattern = /^(?:sha256:)?[0-9a-f]{64}$/;

/** Throws imageNotFound, with Docker's text, where the image is for other machines than those of `given`. */
export function checkPlatform(image: Image, ref: string, given: string | undefined): void {
  if (given === undefined) return;
  const wanted = parsePlatform(given);
  if (fitsPlatform(image, wanted)) return;
  throw new LinkspanError(
    'imageNotFound',
    `image with reference ${ref} was found but its platform (${formatPlatform(image)}) does not match the ` +
      `specified platform (${formatPlatform(wanted)})`,
  );
}

/** The images in the order in which they were named, each once. Throws imageNotFound, requestInvalid. */
export async function findWanted(
  refs: readonly string[],
  all: readonly FoundImage[],
  find: Find,
  platform: string | undefined,
): Promise<readonly WantedImage[]> {
  const wanted = new Map<string, WantedImage>();
  const add = (found: FoundImage, ref: string, tags: readonly ImageName[]): void => {
    checkPlatform(found.image, ref, platform);
    const entry = wanted.get(found.image.id) ?? { found, tags: new Map<string, Reference>() };
    for (const { recordName, reference } of tags) if (reference) entry.tags.set(recordName, reference);
    wanted.set(found.image.id, entry);
  };
  for (const ref of refs) {
    const given = idPattern.test(ref) ? undefined : parseReference(ref);
    const isNameOnly = given?.tag === undefined && given?.digest === undefined;
    const tagged = all.flatMap((found) => {
      const isWanted = ({ reference }: ImageName): boolean =>
        given !== undefined &&
        isNameOnly &&
        reference?.tag !== undefined &&
        formatName(reference) === formatName(given);
      const tags = found.names.filter(isWanted);
      return tags.length === 0 ? [] : [{ found, tags }];
    });
    for (const { found, tags } of tagged) add(found, ref, tags);
    if (tagged.length > 0) continue;
    const { named, ...found } = await find(ref).catch((error: unknown) => {
      if (!hasCode(error, 'imageNotFound')) throw error;
      throw new LinkspanError(
        'imageNotFound',
        isNameOnly ? `No such image: ${ref}` : 'reference does not exist',
      );
    });
    const isTag = ({ reference }: ImageName): boolean =>
      named?.tag !== undefined && reference?.tag === named.tag && formatName(reference) === formatName(named);
    add(found, ref, found.names.filter(isTag));
  }
  return [...wanted.values()];
}
