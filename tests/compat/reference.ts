/*
 * Files about what a real dockerd has not: where it judges the compat checks (LINKSPAN_COMPAT_ENGINE=dockerd), each of
 * them is one counted skip with its reason. docs/comparison.md lists them. And checks that one command line makes for all.
 */
import { type TestContext, test } from 'node:test';
import { notAsked } from '../arch/skips.ts';
import { type Engine, engines } from './daemonFixture.ts';

/** The engines of this run that are ours. `why` dockerd is not asked; `fallback` as in `engines`. */
export function ownEngines(why: string, fallback?: string): readonly Engine[] {
  const all = engines(fallback);
  for (const { name } of all.filter(({ kind }) => kind === 'dockerd'))
    test(name, { skip: notAsked(why) }, () => undefined);
  return all.filter(({ kind }) => kind === 'linkspand');
}

type TestOf = (title: string, work: (t: TestContext) => Promise<void>) => void;

/** `test` for what a dockerd is not asked: there, one counted skip with the reason. */
export function testOfOurs(engine: Engine, why: string, ofOurs: TestOf = testOnce(engine)): TestOf {
  if (engine.kind === 'linkspand') return ofOurs;
  return (title) => void test(title, { skip: notAsked(why) }, () => undefined);
}

/** `test` for what does not depend on the command line that asks: nothing where ours is the second one. */
export function testOnce({ name }: Pick<Engine, 'name'>): TestOf {
  return (title, work) => {
    if (!name.startsWith('linkspan CLI')) void test(title, work);
  };
}
