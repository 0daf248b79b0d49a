/**
 * A pane's cells, gathered by group. Guarantee: a cell that is no integer, or whose slot the aggregate does not have, has no
 * value.
 */
import { isFamily } from '../domain/aggregate.ts';
import type { Aggregate } from '../domain/aggregate.ts';
import type { GroupSlots, SlotValue } from '../domain/window-view.ts';
import { parsePaneField, parsePaneMember } from './keys.ts';
import type { PaneCells } from './pane-cells.ts';

export function groupsOfPane(aggregate: Aggregate, pane: PaneCells): GroupSlots[] {
  const { startMs, endMs } = parsePaneMember(pane.member);
  const slotIndex = new Map(aggregate.slots.map(({ key }, i) => [key, i]));
  const groups = new Map<string, SlotValue[]>();
  const slotsOf = (group: string): SlotValue[] => {
    let slots = groups.get(group);
    if (slots === undefined) groups.set(group, (slots = aggregate.slots.map(() => null)));
    return slots;
  };
  const { integers } = pane;
  for (let i = 0; i < integers.length; i += 2) {
    const { slot, group } = parsePaneField(integers[i] as string);
    const index = slotIndex.get(slot);
    const value = parseInteger(integers[i + 1] as string);
    if (index === undefined || value === null) continue;
    if (!isFamily(aggregate.slots[index]?.kind ?? 'rows')) {
      slotsOf(group)[index] = value;
      continue;
    }
    const texts = parseGroup(group);
    const member = texts?.pop();
    if (texts === null || typeof member !== 'string') continue;
    const slots = slotsOf(JSON.stringify(texts));
    const family = (slots[index] ??= new Map<string, bigint>()) as Map<string, bigint>;
    family.set(member, value);
  }
  for (const [field, sketch] of Object.entries(pane.sketches)) {
    const { slot, group } = parsePaneField(field);
    const index = slotIndex.get(slot);
    if (index !== undefined) slotsOf(group)[index] = sketch;
  }
  return [...groups].map(([group, slots]) => ({ startMs, endMs, group, slots, revision: pane.revision }));
}

function parseInteger(text: string): bigint | null {
  return /^-?\d+$/.test(text) ? BigInt(text) : null;
}

function parseGroup(text: string): unknown[] | null {
  try {
    const group: unknown = JSON.parse(text);
    return Array.isArray(group) ? group : null;
  } catch {
    return null;
  }
}
