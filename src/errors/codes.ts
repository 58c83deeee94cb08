/*
 * The error registry: every code that Linkspan's own errors carry, its kind, and what it is for.
 * Kinds map to HTTP statuses, CLI exit codes and CNI codes in one table each (see kinds.ts).
 * Message texts are given where the error is thrown, because they name the object; codes are stable.
 */

/** What went wrong in general; decides the status at every edge. */
export type ErrorKind =
  | 'notFound'
  | 'conflict'
  | 'invalid'
  | 'forbidden'
  | 'unauthorized'
  | 'unavailable'
  | 'tooLarge'
  | 'notImplemented'
  | 'internal';

export type ErrorCode =
  | 'networkNotFound'
  | 'networkNameTaken'
  | 'networkAmbiguous'
  | 'networkInUse'
  | 'swarmNetworkInUse'
  | 'networkClosed'
  | 'networkPredefined'
  | 'networkConfigInvalid'
  | 'networkConflict'
  | 'driverNotFound'
  | 'driverOptionInvalid'
  | 'poolOverlap'
  | 'poolsExhausted'
  | 'noSwarm'
  | 'joinRefused'
  | 'swarmActive'
  | 'swarmLocked'
  | 'swarmNotLocked'
  | 'unlockKeyInvalid'
  | 'noSwarmHere'
  | 'notManager'
  | 'lastManager'
  | 'demotionRefused'
  | 'outOfSequence'
  | 'joinTimeout'
  | 'managerUnreachable'
  | 'nodeNotFound'
  | 'taskNotFound'
  | 'nodeAmbiguous'
  | 'nodeInUse'
  | 'nodeRefused'
  | 'addressTaken'
  | 'addressInvalid'
  | 'addressesExhausted'
  | 'networkFull'
  | 'endpointExists'
  | 'endpointNotFound'
  | 'portUnavailable'
  | 'portTaken'
  | 'portNotPublished'
  | 'containerNotFound'
  | 'containerNameTaken'
  | 'containerAmbiguous'
  | 'containerConfigInvalid'
  | 'containerState'
  | 'containerStartFailed'
  | 'fileNotFound'
  | 'archiveRefused'
  | 'execNotFound'
  | 'execState'
  | 'volumeNotFound'
  | 'volumeInUse'
  | 'volumeInvalid'
  | 'imageNotFound'
  | 'imageInUse'
  | 'imageInvalid'
  | 'registryRefused'
  | 'registryUnreachable'
  | 'registryLoginFailed'
  | 'builderUnavailable'
  | 'buildFailed'
  | 'requestInvalid'
  | 'requestTooLarge'
  | 'notFound'
  | 'notImplemented'
  | 'kernel'
  | 'firewall'
  | 'store'
  | 'storeUnavailable'
  | 'etcdMissing'
  | 'tunnelUnavailable'
  | 'tunnelPortTaken'
  | 'tunnelLost'
  | 'runtimeUnavailable'
  | 'runtimeFailed'
  | 'daemonRunning'
  | 'notRoot';

/** The kind of every code. */
export const errorCodes: Readonly<Record<ErrorCode, ErrorKind>> = {
  // networks
  networkNotFound: 'notFound',
  networkNameTaken: 'conflict',
  networkAmbiguous: 'invalid',
  networkInUse: 'forbidden',
  swarmNetworkInUse: 'invalid',
  networkClosed: 'forbidden',
  networkPredefined: 'forbidden',
  networkConfigInvalid: 'invalid',
  networkConflict: 'forbidden',
  driverNotFound: 'notFound',
  driverOptionInvalid: 'invalid',
  poolOverlap: 'forbidden',
  poolsExhausted: 'invalid',
  noSwarm: 'forbidden',
  joinRefused: 'invalid',
  // the swarm and its nodes
  swarmActive: 'unavailable',
  swarmLocked: 'unavailable',
  swarmNotLocked: 'conflict',
  unlockKeyInvalid: 'unauthorized',
  noSwarmHere: 'unavailable',
  notManager: 'unavailable',
  lastManager: 'unavailable',
  demotionRefused: 'invalid',
  outOfSequence: 'internal',
  joinTimeout: 'unavailable',
  managerUnreachable: 'unavailable',
  nodeNotFound: 'notFound',
  taskNotFound: 'notFound',
  nodeAmbiguous: 'invalid',
  nodeInUse: 'invalid',
  nodeRefused: 'forbidden',
  // addresses and endpoints
  addressTaken: 'forbidden',
  addressInvalid: 'invalid',
  addressesExhausted: 'internal',
  networkFull: 'internal',
  endpointExists: 'forbidden',
  endpointNotFound: 'internal',
  // published ports
  portUnavailable: 'internal',
  portTaken: 'conflict',
  portNotPublished: 'notFound',
  // containers
  containerNotFound: 'notFound',
  containerNameTaken: 'conflict',
  containerAmbiguous: 'invalid',
  containerConfigInvalid: 'invalid',
  containerState: 'conflict',
  containerStartFailed: 'invalid',
  fileNotFound: 'notFound',
  archiveRefused: 'invalid',
  execNotFound: 'notFound',
  execState: 'conflict',
  // volumes
  volumeNotFound: 'notFound',
  volumeInUse: 'conflict',
  volumeInvalid: 'invalid',
  // images
  imageNotFound: 'notFound',
  imageInUse: 'conflict',
  imageInvalid: 'invalid',
  registryRefused: 'internal',
  registryUnreachable: 'internal',
  registryLoginFailed: 'unauthorized',
  builderUnavailable: 'unavailable',
  buildFailed: 'invalid',
  // requests
  requestInvalid: 'invalid',
  requestTooLarge: 'tooLarge',
  notFound: 'notFound',
  notImplemented: 'notImplemented',
  // the machine
  kernel: 'internal',
  firewall: 'internal',
  store: 'internal',
  storeUnavailable: 'unavailable',
  etcdMissing: 'unavailable',
  tunnelUnavailable: 'unavailable',
  tunnelPortTaken: 'conflict',
  tunnelLost: 'unavailable',
  runtimeUnavailable: 'unavailable',
  runtimeFailed: 'internal',
  daemonRunning: 'conflict',
  notRoot: 'forbidden',
};

/** True if `text` is a code of this version: for what comes from another program. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorCodes, text);
}
