/** Chaos by seed: the plan of a run, and the records of a round, are functions of the seed and do what they promise. */
import { defineRound } from '../../chaos/definition.ts';
import { createEvents } from '../../chaos/events.ts';
import { futureReason } from '../../chaos/poison.ts';
import { Random } from '../../chaos/random.ts';
import { faultKinds, faultNames, planRounds } from '../../chaos/schedule.ts';
import type { RoundPlan } from '../../chaos/schedule.ts';
import { readUtf8 } from '../../clients/kafka.ts';
import { createDecoder } from '../../domain/decode.ts';
import { rejectionReasons } from '../../domain/event.ts';
import { definePipeline } from '../../domain/pipeline.ts';

const seeds = Array.from({ length: 300 }, (_, i) => `seed ${i}`);

describe('the schedule', () => {
  it('is the same for the same seed, however many rounds are asked for', () => {
    expect(planRounds('7', 20)).toEqual(planRounds('7', 20));
    expect(planRounds('7', 30).slice(0, 20)).toEqual(planRounds('7', 20));
    expect(planRounds('8', 20)).not.toEqual(planRounds('7', 20));
  });

  it('has every fault within 20 rounds, whatever the seed', () => {
    for (const seed of seeds) {
      const drawn = new Set(planRounds(seed, 20).flatMap(({ faults }) => faults));
      expect([seed, faultNames.filter((name) => !drawn.has(name))]).toEqual([seed, []]);
    }
  });

  it('draws two to four different faults a round, that its Redis can have, and at most one that ends it, last', () => {
    const plans = seeds.flatMap((seed) => planRounds(seed, 20));
    const wrong = plans.filter(
      ({ faults, redis }) =>
        faults.length < 2 ||
        faults.length > 4 ||
        new Set(faults).size < faults.length ||
        faults.some((name) => !['both', redis].includes(faultKinds[name].redis)) ||
        faults.slice(0, -1).some((name) => faultKinds[name].end !== 'goes on'),
    );
    expect(plans).toHaveLength(20 * seeds.length);
    expect(wrong).toEqual([]);
  });
});

describe('the records of a round', () => {
  const rounds = planRounds('records', 12).map((plan) => ({ plan, ...create(plan) }));

  function create(plan: RoundPlan) {
    const random = new Random(plan.seed);
    const definition = defineRound(plan, random);
    const pipeline = definePipeline(definition.input);
    return { definition, pipeline, events: createEvents(definition, pipeline, 3_000, random) };
  }

  const fingerprint = (events: unknown): string =>
    JSON.stringify(events, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value));

  it('are the same for the same seed', () => {
    for (const { plan, events, definition } of rounds) {
      const again = create(plan);
      expect(again.definition.input).toEqual(definition.input);
      expect(fingerprint(again.events)).toBe(fingerprint(events));
    }
  });

  it('mean what their author says: each decodes to its event, or is rejected for its reason', () => {
    const seen = new Set<string>();
    const wrong: unknown[] = [];
    for (const { events, pipeline, definition } of rounds) {
      const decode = createDecoder(pipeline, readUtf8);
      for (const { value, timestampMs, plain } of events) {
        const decoded = decode({ partition: 0, offset: 0, timestampMs, key: null, value });
        const isFuture = plain.timeMs > timestampMs + definition.rules.maxFutureMs;
        const dead = plain.dead ?? (isFuture ? futureReason : null);
        const reason = decoded.ok ? null : decoded.rejection.reason;
        if (reason !== dead) wrong.push([plain, reason]);
        if (dead !== null) seen.add(dead);
        if (!decoded.ok) continue;
        const { id, timeMs, values } = decoded.event;
        if (id !== plain.id || timeMs !== plain.timeMs) wrong.push([plain, id, timeMs]);
        for (const [i, { name }] of pipeline.fields.entries()) {
          const is = values[i] ?? null;
          const meant = name === 'at' ? is : plain.values[name];
          if ((typeof is === 'number' && name !== 'at' ? BigInt(is) : is) !== meant)
            wrong.push([plain, name, is]);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect([...seen].sort()).toEqual(Object.keys(rejectionReasons).sort());
  });

  it('hold duplicates, disorder, late ones and leaps; equal ids have equal keys', () => {
    const strays: string[] = [];
    for (const { events } of rounds) {
      const keys = new Map<string, string>();
      let [duplicates, behind, leaps, newest] = [0, 0, 0, -Infinity];
      for (const { key, plain } of events) {
        if (keys.has(plain.id)) duplicates++;
        if ((keys.get(plain.id) ?? key) !== key) strays.push(plain.id);
        keys.set(plain.id, key);
        if (plain.timeMs > Date.UTC(2100, 0)) continue;
        if (plain.timeMs < newest - 60_000) behind++;
        if (plain.timeMs > newest + 3_000_000 && newest > 0) leaps++;
        newest = Math.max(newest, plain.timeMs);
      }
      expect([duplicates > 50, behind > 10, leaps > 0]).toEqual([true, true, true]);
    }
    expect(strays).toEqual([]);
  });
});
