/*
 * Requests that ask for nothing but the defaults: what the engine makes and joins on its own account starts from these.
 */
import type { AttachmentRequest, NetworkRequest } from '../model.ts';

export function plainNetwork(name: string, driver: string): NetworkRequest {
  return {
    ...{ name, driver, isInternal: false, isAttachable: false, isIngress: false, isConfigOnly: false },
    ...{ ipamDriver: 'default', ipamOptions: {}, pools: [], options: {}, labels: {} },
  };
}

export function plainAttachment(network: string): AttachmentRequest {
  return { network, aliases: [], links: [], driverOptions: {}, gatewayPriority: 0 };
}
