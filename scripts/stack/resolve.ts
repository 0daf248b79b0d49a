/**
 * From a planned step to something that can be run. Guarantee: what cannot be had is one `missing-program` error that
 * names what is missing and how to get it, before anything is downloaded or started.
 */
import { join } from 'node:path';
import { ReckonError } from '../../domain/errors.ts';
import { discover } from './discover.ts';
import { kafkaScripts } from './launch.ts';
import { serverNames, type Progress, type ServerName } from './model.ts';
import { planOwnProcess, planStack, type Found, type Step } from './plan.ts';
import { provision } from './provision.ts';
import type { Program } from './settings.ts';

/** A step that ends in a process of ours. */
export type OwnStep = Extract<Step, { kind: 'path' | 'cached' | 'provision' }>;

/** Refuses the whole plan when one of its servers cannot be had; the others are told through `progress`. */
export function refuseImpossible(steps: readonly Step[], progress: Progress): void {
  const impossible = steps.filter((step) => step.kind === 'impossible');
  const [first, ...rest] = impossible;
  for (const step of rest) progress(`${step.missing} ${step.hint}`);
  if (first !== undefined) throw new ReckonError('missing-program', first.missing, first.hint);
}

export function isOwn(step: Step): step is OwnStep {
  return step.kind === 'path' || step.kind === 'cached' || step.kind === 'provision';
}

/** The step for a server once containers are out of the question. */
export function ownStep(name: ServerName, found: Found, progress: Progress): OwnStep {
  const step = planOwnProcess(name, found);
  refuseImpossible([step], progress);
  if (!isOwn(step)) throw new ReckonError('internal', `internal error: ${name} has no step of its own`);
  return step;
}

/** The programs of a step, provisioned when they have to be. */
export async function programOf(
  step: OwnStep,
  found: Found,
  env: NodeJS.ProcessEnv,
  progress: Progress,
): Promise<Program> {
  if (step.kind === 'path') {
    if (step.name === 'kafka') return kafkaScripts(step.program);
    return step.name === 'redis'
      ? { name: 'redis', server: step.program }
      : { name: 'temporal', cli: step.program };
  }
  const home = await provision(step.name, env, progress);
  switch (step.name) {
    case 'kafka':
      return { name: 'kafka', kind: 'jars', java: found.java?.path ?? 'java', libs: join(home, 'libs') };
    case 'redis':
      return { name: 'redis', server: join(home, 'redis-server') };
    case 'temporal':
      return { name: 'temporal', cli: join(home, 'temporal') };
  }
}

/**
 * Puts into the cache whatever the tests' own servers need and PATH does not have. Returns the programs by server.
 * Raises `missing-program` (with the way to get it) before anything is downloaded.
 */
export async function provisionAll(
  progress: Progress,
  env: NodeJS.ProcessEnv = process.env,
): Promise<Record<ServerName, Program>> {
  const found = await discover(env, { askDocker: false });
  const steps = planStack(env, found, serverNames, { ownProcessesOnly: true });
  refuseImpossible(steps, progress);
  const programs = await Promise.all(
    steps.filter(isOwn).map((step) => programOf(step, found, env, progress)),
  );
  return Object.fromEntries(programs.map((program) => [program.name, program])) as Record<
    ServerName,
    Program
  >;
}
