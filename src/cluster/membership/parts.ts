/*
 * What only members of a swarm need: certificates, TLS servers, WebSockets, 7 MB of a daemon's memory. Imported when
 * the first command needs it.
 */
export { Authority } from '../identity/authority.ts';
export { certifySelf, openManager } from '../managing.ts';
export { askToJoin, renew } from './managerClient.ts';
export { ManagerSession } from './managerSession.ts';
