/*
 * Keeps /etc/resolv.conf of a running container as its networks are: the first user-defined network brings the
 * resolver. At start the starter writes the file; one that the user has changed since is left alone.
 */
import {
  type DnsSettings,
  formatResolvConf,
  readText,
  resolvConfKind,
  rewriteResolvConf,
  withDefaults,
} from '../containers/etcFiles.ts';
import type { SandboxFollower, SandboxState } from '../networks/follower.ts';

export interface ResolvConfFollowerDependencies {
  readonly defaults: DnsSettings;
  /** The machine's resolv.conf. */
  readonly resolvConfPath: string;
}

export class ResolvConfFollower implements SandboxFollower {
  readonly #deps: ResolvConfFollowerDependencies;

  constructor(deps: ResolvConfFollowerDependencies) {
    this.#deps = deps;
  }

  apply({ container, sandbox, attachments }: SandboxState): Promise<void> {
    const isLive = container.state === 'running' || container.state === 'paused';
    const endpoints = attachments.map(({ endpoint }) => endpoint);
    // Once it names the resolver it keeps doing so: the resolver stays with the sandbox.
    if (isLive && sandbox !== undefined && resolvConfKind(container.spec, endpoints) === 'resolver') {
      const hostText = readText(this.#deps.resolvConfPath);
      const settings = withDefaults(container.spec, this.#deps.defaults);
      rewriteResolvConf(container.resolvConfPath, formatResolvConf(hostText, settings, 'resolver'));
    }
    return Promise.resolve();
  }

  /** The file goes with the container's folder. */
  release(): Promise<void> {
    return Promise.resolve();
  }

  /** The file outlives the daemon. */
  adopt(): Promise<void> {
    return Promise.resolve();
  }
}
