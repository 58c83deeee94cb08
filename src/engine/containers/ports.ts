/*
 * What containers need of the network side of the engine. Owned here, because this is the consumer; the networks
 * implement it and the composition root hands it in.
 */
import type { LinkCounters } from '../../codec/netlink/linkCounters.ts';
import type {
  AttachmentRequest,
  Binding,
  Container,
  ContainerSpec,
  Endpoint,
  Network,
  Sandbox,
} from '../model.ts';

export interface SandboxNetwork {
  /**
   * At create: checks what can be known before the start (static addresses, aliases, conflicting modes). An unknown
   * network is no error here: Docker accepts it and fails at start. Not called for `container:` mode.
   */
  validate(spec: ContainerSpec): void | Promise<void>;
  /**
   * At start: the sandbox with every endpoint attached and recorded; `sandbox` undefined = the host's network.
   * Afterwards `endpoints` tells the addresses. Undoes everything when it fails. Not called for `container:` mode.
   */
  prepare(container: Container): Promise<{ readonly sandbox: Sandbox | undefined }>;
  /** After the end: detaches everything and removes the namespace; addresses stay reserved. Success if already done. */
  release(container: Container): Promise<void>;
  /** The container is removed: gives its reservations back. Success if already done. */
  forget(container: Container): Promise<void>;
  /** Codes networkNotFound, networkAmbiguous. */
  getNetwork(ref: string): Network;
  findNetwork(ref: string): Network | undefined;
  /** Throws what is wrong with the request for a network that exists. */
  check(request: AttachmentRequest): void;
  /**
   * One more network for a running container with a sandbox of its own. `commit` makes the container's record name it
   * and is called when everything else is done; when it fails everything is undone.
   */
  connect(container: Container, request: AttachmentRequest, commit: () => Promise<void>): Promise<void>;
  /**
   * Off a network, running or not; gives the addresses back. `commit` takes it out of the container's record and is
   * called first. Success if there was no endpoint.
   */
  disconnect(container: Container, network: Network, commit: () => Promise<void>): Promise<void>;
  /** The container's endpoints in attach order, attached or reserved. */
  endpoints(container: Container): readonly Endpoint[];
  /** What the interfaces have carried that its networks gave a container which runs; none in host mode. */
  counters(container: Container): Promise<readonly LinkCounters[]>;
  /** What the container publishes now. */
  bindings(container: Container): readonly Binding[];
  /** The container runs and its spec asks for other ports: makes them so. On failure all is as before. */
  publish(container: Container): Promise<void>;
  /** `container` still has the old name. */
  renamed(container: Container, name: string): Promise<void>;
  /** What `host-gateway` stands for in --add-host: addresses of the default bridge, or the daemon's setting. */
  hostGatewayIps(): readonly string[];
  /**
   * After adoption at daemon start: every container that runs is in `running`, with its sandbox, all others in
   * `stopped`. Takes down what no one of these uses: namespaces under our folder, endpoints recorded as attached, and
   * what a connect or disconnect that was cut short left.
   */
  sweep(running: readonly Container[], stopped: readonly Container[]): Promise<void>;
}
