/*
 * What only members of a swarm need: certificates, TLS servers, WebSockets, 7 MB of a daemon's memory. Imported when
 * the first command needs it.
 */
export { Authority, subjectOf } from '../identity/authority.ts';
export { changeSwarm, checkSpec, unlockKeyOf } from '../identity/swarmChange.ts';
export { trustsOf } from '../identity/trust.ts';
export { TrustFollower } from '../identity/trustFollower.ts';
export { newKey, sealSwarm } from '../identity/vault.ts';
export { certifySelf, openManager } from '../managing.ts';
export { askToJoin, confirm, renew } from './managerClient.ts';
export { ManagerSession } from './managerSession.ts';
export { askRole, becomeManager } from '../managers/becomeManager.ts';
export { beginAlone, moveRecords } from '../managers/migration.ts';
