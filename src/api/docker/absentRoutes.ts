/*
 * Routes of Docker Engine API 1.50 that exist there and not here (yet): 501 with a sentence, so that nobody takes a
 * missing feature for a mistyped path.
 */
import type { HTTPMethods } from 'fastify';
import { LinkspanError } from '../../errors/linkspanError.ts';
import type { Routes } from './apiContext.ts';

type Route = readonly [method: HTTPMethods, path: string];

/** By feature, in the words of the sentence: `<feature> is not supported yet`. */
const absent: Readonly<Record<string, readonly Route[]>> = {
  'Asking a registry about an image': [['GET', '/distribution/*']],
  'Attaching over a WebSocket': [['GET', '/containers/:id/attach/ws']],
  'Checkpointing containers': [
    ['GET', '/containers/:id/checkpoints'],
    ['POST', '/containers/:id/checkpoints'],
    ['DELETE', '/containers/:id/checkpoints/:checkpoint'],
  ],
  'Copying files to and from containers': [['POST', '/containers/:id/copy']],
  'Volumes of a cluster': [['PUT', '/volumes/:name']],
  Plugins: [
    ['GET', '/plugins'],
    ['GET', '/plugins/privileges'],
    ['GET', '/plugins/*'],
    ['POST', '/plugins/*'],
    ['DELETE', '/plugins/*'],
  ],
  Services: [
    ['GET', '/services'],
    ['GET', '/services/:id'],
    ['GET', '/services/:id/logs'],
    ['POST', '/services/create'],
    ['POST', '/services/:id/update'],
    ['DELETE', '/services/:id'],
  ],
  'Logs of tasks': [['GET', '/tasks/:id/logs']],
  Secrets: [
    ['GET', '/secrets'],
    ['GET', '/secrets/:id'],
    ['POST', '/secrets/create'],
    ['POST', '/secrets/:id/update'],
    ['DELETE', '/secrets/:id'],
  ],
  Configs: [
    ['GET', '/configs'],
    ['GET', '/configs/:id'],
    ['POST', '/configs/create'],
    ['POST', '/configs/:id/update'],
    ['DELETE', '/configs/:id'],
  ],
};

const plurals = new Set(['Volumes of a cluster', 'Plugins', 'Services', 'Tasks', 'Secrets', 'Configs']);

export const absentRoutes: Routes = (app) => {
  for (const [feature, routes] of Object.entries(absent)) {
    const sentence = `${feature} ${plurals.has(feature) ? 'are' : 'is'} not supported yet`;
    for (const [method, url] of routes)
      app.route({
        method,
        url,
        handler: () => {
          throw new LinkspanError(
            'notImplemented',
            `${sentence} (${method} ${url.replace(/:(\w+)/g, '{$1}')})`,
          );
        },
      });
  }
};
