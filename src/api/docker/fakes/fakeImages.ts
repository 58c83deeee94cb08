/*
 * The image store of the engine in memory: one image, and a list of what was asked. For tests.
 */
import { LinkspanError } from '../../../errors/linkspanError.ts';
import type { Image, ImageStore, ImagesUsage, RegistrySettings } from '../../../runtime/images/images.ts';

export const busybox: Image = {
  id: `sha256:${'5'.repeat(64)}`,
  tags: ['busybox:latest'],
  digests: [],
  createdAt: '2026-11-23T21:36:31.505883028Z',
  architecture: 'amd64',
  os: 'linux',
  author: '',
  comment: 'Imported from -',
  sizeBytes: 1984162,
  diffIds: [`sha256:${'b'.repeat(64)}`],
  config: {
    env: ['PATH=/bin'],
    entrypoint: [],
    command: ['/bin/sh'],
    workingDir: '',
    user: '',
    exposedPorts: [],
    volumes: [],
    labels: {},
  },
  history: [{ created: '2026-11-23T21:36:31Z', comment: 'Imported from -' }],
};

export class FakeImages implements ImageStore {
  readonly calls: string[] = [];
  readonly registries: RegistrySettings = {
    insecure: ['reg.example:5000', '10.0.0.0/8'],
    mirrors: ['https://mirror.example'],
  };

  /** Whoever removes, or measures after that, comes too late. */
  isPrunedElsewhere = false;
  #usageCalls = 0;

  list(): Promise<readonly Image[]> {
    return Promise.resolve([busybox]);
  }

  usage(): Promise<ImagesUsage> {
    if (this.isPrunedElsewhere && this.#usageCalls++ > 0)
      return Promise.reject(new LinkspanError('imageNotFound', 'a layer is gone'));
    const isThere = !this.calls.some((call) => call.startsWith('remove '));
    const layersBytes = isThere ? busybox.sizeBytes : 0;
    return Promise.resolve({ layersBytes, sharedBytes: new Map([[busybox.id, 0]]) });
  }

  layerSizes(): Promise<readonly number[]> {
    return Promise.resolve([busybox.sizeBytes]);
  }

  chainId(): string {
    return '';
  }

  get(ref: string): Promise<Image> {
    if (ref === 'busybox' || ref === 'busybox:latest' || ref === busybox.id) return Promise.resolve(busybox);
    return Promise.reject(new LinkspanError('imageNotFound', `No such image: ${ref}`));
  }

  pull(...[ref, options, onProgress]: Parameters<ImageStore['pull']>): Promise<Image> {
    const tags = options.isAllTags === true ? ' all' : '';
    this.calls.push(`pull ${ref} ${options.credentials?.username ?? ''}${tags}`);
    if (ref.includes('refused'))
      return Promise.reject(new LinkspanError('registryRefused', `pull access denied for ${ref}`));
    onProgress({ id: 'latest', status: `Pulling from ${ref}` });
    onProgress({ id: 'abc', status: 'Downloading', currentBytes: 1, totalBytes: 2 });
    if (ref.includes('broken')) return Promise.reject(new LinkspanError('imageInvalid', 'digest mismatch'));
    return Promise.resolve(busybox);
  }

  async load(tar: AsyncIterable<Buffer>): Promise<readonly string[]> {
    let bytes = 0;
    for await (const chunk of tar) bytes += chunk.length;
    this.calls.push(`load ${bytes}`);
    return ['busybox:latest'];
  }

  async *save(...[names]: Parameters<ImageStore['save']>): AsyncGenerator<Uint8Array> {
    this.calls.push(`save ${names.join(' ')}`);
    if (names.includes('nosuch')) throw new LinkspanError('imageNotFound', 'No such image: nosuch');
    yield Buffer.from('an archive');
  }

  async import(...[tar, options]: Parameters<ImageStore['import']>): Promise<Image> {
    let bytes = 0;
    for await (const chunk of tar as AsyncIterable<Buffer>) bytes += chunk.length;
    this.calls.push(`import ${bytes} ${options.ref} ${options.changes.join('|')}`);
    return busybox;
  }

  async *exportContainer(): AsyncGenerator<Uint8Array> {}

  commit(): Promise<Image> {
    return Promise.resolve(busybox);
  }

  push(...[ref, options, onProgress]: Parameters<ImageStore['push']>): Promise<void> {
    this.calls.push(`push ${ref} ${options.credentials?.username ?? ''}`);
    onProgress({ status: `The push refers to repository [${ref}]` });
    onProgress({ status: '', pushed: { tag: '1', digest: busybox.id, sizeBytes: 527 } });
    return Promise.resolve();
  }

  logIn(...[address, credentials]: Parameters<ImageStore['logIn']>): Promise<string> {
    this.calls.push(`logIn ${address} ${credentials.username}`);
    if (credentials.password !== 'wrong') return Promise.resolve('');
    return Promise.reject(new LinkspanError('registryLoginFailed', 'login attempt failed'));
  }

  tag(ref: string, target: string): Promise<void> {
    this.calls.push(`tag ${ref} ${target}`);
    return Promise.resolve();
  }

  remove(...[ref, options]: Parameters<ImageStore['remove']>): ReturnType<ImageStore['remove']> {
    if (this.isPrunedElsewhere)
      return Promise.reject(new LinkspanError('imageNotFound', `No such image: ${ref}`));
    this.calls.push(`remove ${ref} ${options.isForced} ${options.usersOf(busybox.id).length}`);
    return Promise.resolve([{ untagged: `${ref}:latest` }, { deleted: busybox.id }]);
  }
}
