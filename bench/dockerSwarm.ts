/*
 * A real dockerd that is a swarm of its own with an attachable overlay network, for bench/overlay.ts: what creating and
 * starting a container on an overlay takes there, on the same machine in the same run.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  call,
  loadImage,
  makeImage,
  type RunningEngine,
  startContainer,
  startEngine,
  stopEngines,
} from './engines.ts';
import { timed } from './quantiles.ts';

const network = 'bench';
/** Stays empty between rounds, so that each container is the first of its host there. */
const emptyNetwork = 'empty';
const address = '192.0.2.50';

export class DockerSwarm implements AsyncDisposable {
  readonly #engine: RunningEngine;
  #rounds = 0;

  private constructor(engine: RunningEngine) {
    this.#engine = engine;
  }

  /** In a namespace of its own, below `folder`. */
  static async open(folder: string): Promise<DockerSwarm> {
    const engine = await startEngine('docker', folder);
    // An address that is not loopback's, as a swarm asks for.
    execFileSync('ip', ['-n', engine.namespace, 'link', 'add', 'up0', 'type', 'bridge']);
    execFileSync('ip', ['-n', engine.namespace, 'address', 'add', `${address}/24`, 'dev', 'up0']);
    execFileSync('ip', ['-n', engine.namespace, 'link', 'set', 'up0', 'up']);
    loadImage(engine, makeImage(folder));
    await call(engine, 'POST', '/swarm/init', { ListenAddr: `${address}:2377`, AdvertiseAddr: address });
    for (const Name of [network, emptyNetwork])
      await call(engine, 'POST', '/networks/create', { Name, Driver: 'overlay', Attachable: true });
    await startContainer(engine, network, { name: 'neighbour' });
    return new DockerSwarm(engine);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stopEngines([this.#engine]);
  }

  /** One more container, where others of its host are on the network. */
  async measureNext(samples: number[]): Promise<void> {
    await this.#measure(samples, network);
  }

  async measureFirst(samples: number[]): Promise<void> {
    await this.#measure(samples, emptyNetwork);
  }

  async #measure(samples: number[], on: string): Promise<void> {
    let id = '';
    const name = `d${this.#rounds++}`;
    await timed(samples, async () => {
      ({ id } = await startContainer(this.#engine, on, { name }));
    });
    await call(this.#engine, 'DELETE', `/containers/${id}?force=1`);
    await sleep(100);
  }
}
