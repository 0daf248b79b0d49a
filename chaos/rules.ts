/**
 * The events and the rules of a round as their author knows them: what they mean, not how they are written down. Guarantee:
 * plain data; nothing here comes from the definition's or the decoder's code.
 */

/** Integers, and decimals at their scale, are bigints; null = absent. */
export type PlainValue = string | bigint | boolean | null;
export type PlainValues = Readonly<Record<string, PlainValue>>;

/** One record that was sent. */
export interface PlainEvent {
  /** Why it must be rejected whatever its time is; null where it is an event. */
  readonly dead: string | null;
  readonly id: string;
  readonly timeMs: number;
  readonly values: PlainValues;
}

export type PlainWindow =
  | { readonly tumbling: number }
  | { readonly hopping: number; readonly slide: number }
  | { readonly session: number };

/** As users write a measure. */
export type PlainMeasure =
  | 'count'
  | { readonly count: string }
  | { readonly sum: string }
  | { readonly min: string }
  | { readonly max: string }
  | { readonly avg: string }
  | { readonly distinct: string }
  | { readonly quantile: string; readonly at: number }
  | { readonly topK: string; readonly k: number };

export interface PlainAggregate {
  readonly name: string;
  readonly window: PlainWindow;
  readonly groupBy: readonly string[];
  readonly where: (values: PlainValues) => boolean;
  readonly measures: Readonly<Record<string, PlainMeasure>>;
}

export interface PlainRules {
  readonly outOfOrderMs: number;
  readonly allowedLatenessMs: number;
  readonly dedupHorizonMs: number;
  readonly maxFutureMs: number;
  /** Digits after the point of the fields that are decimals. */
  readonly scales: Readonly<Record<string, number>>;
  readonly aggregates: readonly PlainAggregate[];
}

/** A record of the topic: what was sent, and what the broker says of it. */
export interface LoggedEvent {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly event: PlainEvent;
}
