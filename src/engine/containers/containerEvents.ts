/*
 * Container events with the attributes that Docker gives them: image, name, labels, and what the action adds.
 */
import type { EventLog } from '../events.ts';
import type { Container } from '../model.ts';

export function emitContainerEvent(
  events: EventLog,
  container: Container,
  action: string,
  attributes: Readonly<Record<string, string>> = {},
): void {
  events.emit({
    type: 'container',
    action,
    actorId: container.id,
    attributes: {
      ...container.process.labels,
      image: container.spec.image,
      name: container.name,
      ...attributes,
    },
  });
}
