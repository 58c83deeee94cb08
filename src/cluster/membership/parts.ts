/*
 * What only members of a swarm need: certificates, TLS servers, WebSockets, 7 MB of a daemon's memory. Imported when
 * the first command needs it.
 */
export { Authority, publicKeyOf, requestCertificate } from '../identity/authority.ts';
export { askToJoin, renew } from './managerClient.ts';
export { ManagerServer } from './managerServer.ts';
export { ManagerSession } from './managerSession.ts';
