/*
 * What our own fields say of encryption. Pure.
 */
import type { EngineChoice } from '../../tunnels/tunnel.ts';

/** `kernel` or `wireguard-go`; where there is none, why. */
export function engineShape(choice: EngineChoice): Record<string, unknown> {
  return choice.engine === undefined ? { Engine: '', Error: choice.reason } : { Engine: choice.engine };
}
