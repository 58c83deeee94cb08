/*
 * The face of WireGuard to the layers above, the same whether the kernel does it or wireguard-go:
 *
 *   daemon's namespace                       a namespace that the caller made
 *   UDP socket of the device, `port`  <---   the device, with its addresses; VXLAN sockets; nothing else
 *
 * so that a packet can neither leave nor come in without the device. Who is a peer, and which addresses are whose, the
 * caller says; what runs in the namespace besides is his.
 */
import type { Events } from '../base/events.ts';
import type { WireguardEndpoint, WireguardPeerState } from '../codec/wireguard/device.ts';
import type { PublicKey, SecretKey } from '../codec/wireguard/key.ts';
import type { IpWithLength, Prefix } from '../net/prefix.ts';

/** In the order in which they are preferred. */
export const tunnelEngines = ['kernel', 'wireguard-go'] as const;
export type TunnelEngine = (typeof tunnelEngines)[number];

/** Which engine tunnels have on this machine; or none, and why, in one sentence for users. */
export type EngineChoice =
  | { readonly engine: TunnelEngine }
  | { readonly engine: undefined; readonly reason: string };

export interface TunnelSpec {
  /** Of the device: at most 15 bytes, unique on the machine, not only in a namespace. See `tunnelNameOf`. */
  readonly name: string;
  /** Path of the namespace that the device is to be in; it is there, and stays. */
  readonly namespace: string;
  /** Owner mark of the device, at most 255 bytes. */
  readonly alias: string;
  readonly privateKey: SecretKey;
  /** UDP, of the daemon's namespace, 1 to 65535; on all its addresses of both families. */
  readonly port: number;
  /** Of the device: an outer packet is 60 bytes longer over IPv4, 80 over IPv6. For an open tunnel it does not change. */
  readonly mtuBytes: number;
  /** The device's own, and no others; by their length the kernel routes what peers have into the device. */
  readonly addresses: readonly IpWithLength[];
}

/** A peer as it should be: what is absent it has not. */
export interface TunnelPeer {
  readonly publicKey: PublicKey;
  readonly presharedKey?: SecretKey;
  /** Absent: whatever the device knows stays, since a peer may be reached where it was heard from last. */
  readonly endpoint?: WireguardEndpoint;
  /** Absent or 0: none. 25 keeps the mapping of a NAT open. */
  readonly keepaliveSeconds?: number;
  /** True: one that is there is taken away first, so that its session ends and the next one begins at once. */
  readonly isAnew?: boolean;
  /** Packets for these go to it, and from it only those from these are taken. One that another peer has moves here. */
  readonly allowedIps: readonly Prefix[];
}

export interface TunnelEvents extends Record<string, unknown> {
  /**
   * The device is gone (wireguard-go died, somebody deleted the link), and with it all that was bound to it. Comes once;
   * this Tunnel is of no use any more: its calls reject with code tunnelLost. Open another, and build on that.
   */
  readonly lost: { readonly cause: string };
}

/** A device that is up. Changes are done in the order in which they are asked for. */
export interface Tunnel extends Disposable {
  readonly engine: TunnelEngine;
  readonly name: string;
  readonly events: Events<TunnelEvents>;
  /** The peers are these from now on, and no others. Sessions of those that stay go on. */
  setPeers(peers: readonly TunnelPeer[]): Promise<void>;
  /**
   * `put` makes each peer what it says, whether or not it is there; then those of `remove` go; of those that are not there
   * nothing is said. All in one step for the device unless there are hundreds.
   */
  changePeers(change: {
    readonly put?: readonly TunnelPeer[];
    readonly remove?: readonly PublicKey[];
  }): Promise<void>;
  /**
   * Sends each of these a keepalive now, which begins a handshake where there is no session: to open a path through a
   * NAT, or after one's own key or address changed. For one without endpoint nothing happens.
   */
  wake(peers: readonly PublicKey[]): Promise<void>;
  /**
   * The device has this private key from now on. What peers sent under older sessions is still taken; what it sends
   * waits for a handshake under the new key, which peers take only once they have the new public key.
   * How to change it without losing a packet: docs/adr/0017-wireguard-engines.md.
   */
  setPrivateKey(privateKey: SecretKey): Promise<void>;
  /** What the device says of its peers. */
  peers(): Promise<readonly WireguardPeerState[]>;
  /** Takes the device away, and ends its process. Tries every step; success if it is gone. */
  close(): Promise<void>;
  /** Lets go of it: the device goes on, for the next daemon. */
  [Symbol.dispose](): void;
}

export interface Tunnels extends Disposable {
  /** What `open` would use. Asks the system each time. */
  findEngine(): Promise<EngineChoice>;
  /**
   * Makes the device, or takes over one of that name that an earlier daemon left in the namespace: its key, port and
   * addresses become those of `spec`, its peers stay, for `setPeers` to sweep. Where devices of that name were lost soon
   * after they were made, it waits before it makes another, longer each time (at most 10 s). Code tunnelUnavailable where
   * there is no engine, tunnelPortTaken where the port is another program's. Undoes what it did when it fails.
   */
  open(spec: TunnelSpec): Promise<Tunnel>;
  /** Takes away what an earlier daemon left of that name, whatever its engine; success if there is nothing. */
  remove(name: string, namespace: string): Promise<void>;
  /** Who waits in `open` waits no longer: it rejects with an AbortError. Tunnels that are open stay open. */
  [Symbol.dispose](): void;
}
