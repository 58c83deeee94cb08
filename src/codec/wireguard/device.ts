/*
 * What one says to a WireGuard device and what it says of itself, the same for generic netlink
 * (codec/netlink/wireguard.ts) and for the socket of wireguard-go (uapi.ts). Secrets are bytes here, and come back from
 * no device. Contract: linux/wireguard.h, https://www.wireguard.com/xplatform/.
 */
import type { Ip } from '../../net/ip.ts';
import type { Prefix } from '../../net/prefix.ts';
import type { PublicKey } from './key.ts';

/** Where a peer's packets go: a UDP port of a host. */
export interface WireguardEndpoint {
  readonly ip: Ip;
  /** 1 to 65535. */
  readonly port: number;
}

/** A change of one peer; what is absent stays as it is. */
export interface WireguardPeerChange {
  readonly publicKey: PublicKey;
  /** True: the peer goes, and all else here counts nothing. Success if there is none. */
  readonly isRemoved?: boolean;
  /** True: only where there is such a peer; default one is made. */
  readonly isUpdateOnly?: boolean;
  /** 32 bytes; all zero for none. */
  readonly presharedKey?: Uint8Array;
  readonly endpoint?: WireguardEndpoint;
  /** 0 = off, else 1 to 65535. From off to on sends one at once, which begins a handshake where there is no session. */
  readonly keepaliveSeconds?: number;
  /** True: it has `allowedIps` and no others from now on. */
  readonly replacesAllowedIps?: boolean;
  /** One that another peer has moves here. */
  readonly allowedIps?: readonly Prefix[];
}

/** A change of a device; what is absent stays as it is. */
export interface WireguardChange {
  /** 32 bytes; all zero for none. A peer whose public key is this one's goes. */
  readonly privateKey?: Uint8Array;
  /** UDP, 0 = any that is free. */
  readonly port?: number;
  /** SO_MARK of its packets, 0 = none. */
  readonly fwmark?: number;
  /** True: peers that are not among `peers` go. */
  readonly replacesPeers?: boolean;
  /** Done in this order. */
  readonly peers?: readonly WireguardPeerChange[];
}

export interface WireguardPeerState {
  readonly publicKey: PublicKey;
  readonly hasPresharedKey: boolean;
  /** The newest that an authentic packet came from, or that was set; undefined if there is none, or it is link-local. */
  readonly endpoint: WireguardEndpoint | undefined;
  /** 0 = off. */
  readonly keepaliveSeconds: number;
  /** Wall clock, milliseconds since 1970; undefined before the first one. */
  readonly lastHandshakeMs: number | undefined;
  /** Of outer packets, since the peer was added. */
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly allowedIps: readonly Prefix[];
}

export interface WireguardState {
  /** Undefined while it has no private key. */
  readonly publicKey: PublicKey | undefined;
  readonly port: number;
  readonly fwmark: number;
  readonly peers: readonly WireguardPeerState[];
}
