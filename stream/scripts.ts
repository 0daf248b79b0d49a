/** The Lua scripts of the speed layer, as text; each says in its head what it guarantees. */
import { readFileSync } from 'node:fs';

export type ScriptName =
  'acquire' | 'commit' | 'panes' | 'reconcile' | 'report' | 'revisions' | 'snapshot' | 'stop';

export function lua(name: ScriptName): string {
  return readFileSync(new URL(`./lua/${name}.lua`, import.meta.url), 'utf8');
}
