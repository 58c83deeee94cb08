/*
 * The machine's own name servers, read again when /etc/resolv.conf changes: a laptop that moves, a VPN that comes up.
 * Looked at once a second at most, and only while somebody asks.
 */
import { readFileSync, statSync } from 'node:fs';
import { parseIp } from '../net/ip.ts';

const lookIntervalMs = 1000;

/** The name servers that a resolv.conf names (resolv.conf(5)); those that are no plain address are left out. */
export function parseNameservers(text: string): readonly string[] {
  return [...text.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)].flatMap(([, address = '']) =>
    parseIp(address) === undefined ? [] : [address],
  );
}

export class HostServers {
  readonly #path: string;
  readonly #nowMs: () => number;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #version = '';
  #servers: readonly string[] = [];

  constructor(path: string, nowMs: () => number) {
    this.#path = path;
    this.#nowMs = nowMs;
  }

  /** In the file's order; none if it cannot be read. */
  list(): readonly string[] {
    const nowMs = this.#nowMs();
    if (nowMs - this.#lookedAtMs >= lookIntervalMs) {
      this.#lookedAtMs = nowMs;
      this.#look();
    }
    return this.#servers;
  }

  #look(): void {
    try {
      const { mtimeMs, ino, size } = statSync(this.#path);
      const version = `${mtimeMs} ${ino} ${size}`;
      if (version === this.#version) return;
      this.#servers = parseNameservers(readFileSync(this.#path, 'utf8'));
      this.#version = version;
    } catch {
      this.#servers = [];
      this.#version = '';
    }
  }
}
