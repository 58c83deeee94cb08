/*
 * A condition: a lasting operating problem (a kernel feature missing, another firewall in the way). It stands until
 * its cause is gone; API, CLI and page list it. Not for the failure of one request: that is a LinkspanError.
 */

export interface Condition {
  /** Stable while the cause stands: `firewall.foreignDrop:ip filter FORWARD`. */
  readonly id: string;
  readonly severity: 'warning' | 'error';
  /** RFC 3339; when it was first seen. */
  readonly since: string;
  /** One or two sentences for an operator: what is wrong, and what to do. */
  readonly text: string;
}
