/**
 * Explores small worlds breadth first: three callers of one key, a clock that stands, steps on and steps back, and a network
 * in which a message that was sent may arrive at any time, again and again, with its reply received or lost. What is explored
 * are the shipped transitions, or mutants of them.
 */
import type { Fields, Transition } from "@holdfast/edge/engine";

/** A message of a caller: it may be delivered from the time that it was sent. */
export interface Message {
  readonly transition: string;
  readonly input: Fields;
}

/** A state of the world: plain data, so that equal states are recognised. */
export interface World<Knowledge> {
  readonly record: Fields | undefined;
  readonly deadline: number | undefined;
  readonly now: number;
  /** The names of the messages that were sent. */
  readonly sent: readonly string[];
  /** What callers learned, and what must hold from then on. */
  readonly known: Knowledge;
}

/** What a contract promises, and what its callers do. */
export interface Scenario<Knowledge> {
  readonly messages: Readonly<Record<string, Message>>;
  readonly begin: Knowledge;
  /** Whether a caller may send a message now. */
  readonly maySend: (name: string, world: World<Knowledge>) => boolean;
  /** What is known after a message was executed, its reply received or not; throws the broken promise as a sentence. */
  readonly learn: (name: string, output: Fields, received: boolean, world: World<Knowledge>) => Knowledge;
  readonly steps: readonly number[];
}

/** What was explored. */
export interface Explored {
  readonly states: number;
  readonly steps: number;
  readonly depth: number;
  /** The shortest history that breaks a promise. */
  readonly breach?: string;
}

/** Explores to a depth, or until there are too many states. */
export function explore<Knowledge>(
  transitions: readonly Transition[],
  scenario: Scenario<Knowledge>,
  depth: number,
): Explored {
  const byName = new Map(transitions.map((transition) => [transition.name, transition]));
  const begin: World<Knowledge> = {
    record: undefined,
    deadline: undefined,
    now: 1_000_000,
    sent: [],
    known: scenario.begin,
  };
  let level: [World<Knowledge>, string[]][] = [[begin, []]];
  const seen = new Set([JSON.stringify(begin)]);
  let steps = 0;
  for (let at = 1; at <= depth && level.length > 0; at++) {
    const next: typeof level = [];
    for (const [world, trace] of level) {
      for (const [event, move] of moves(world, scenario, byName)) {
        steps++;
        let after: World<Knowledge>;
        try {
          after = move();
        } catch (error) {
          const breach = `${(error as Error).message}: ${[...trace, event].join(", ")}`;
          return { states: seen.size, steps, depth: at, breach };
        }
        const key = JSON.stringify(after);
        if (seen.has(key)) continue;
        seen.add(key);
        next.push([after, [...trace, event]]);
      }
    }
    level = next;
  }
  return { states: seen.size, steps, depth };
}

function* moves<Knowledge>(
  world: World<Knowledge>,
  scenario: Scenario<Knowledge>,
  transitions: ReadonlyMap<string, Transition>,
): Generator<[string, () => World<Knowledge>]> {
  for (const by of scenario.steps) {
    yield [
      by > 0 ? `${by} ms pass` : `the clock steps back ${-by} ms`,
      () => ({ ...world, now: world.now + by }),
    ];
  }
  for (const name of Object.keys(scenario.messages)) {
    if (!world.sent.includes(name)) {
      if (scenario.maySend(name, world)) {
        yield [`${name} is sent`, () => ({ ...world, sent: [...world.sent, name].sort() })];
      }
      continue;
    }
    for (const received of [true, false]) {
      yield [`${name} arrives${received ? "" : ", its reply is lost"}`, () => {
        const { transition, input } = scenario.messages[name]!;
        const live = world.deadline !== undefined && world.now >= world.deadline ? undefined : world.record;
        const { output, write } = transitions.get(transition)!.apply(live, input, world.now);
        const [record, deadline] = write
          ? [write.record, write.record && write.expiresAt]
          : [world.record, world.deadline];
        const known = scenario.learn(name, output, received, world);
        return { ...world, record: record && sorted(record), deadline, known };
      }];
    }
  }
}

function sorted(record: Fields): Fields {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1));
}

/** The transitions of a source file in which one place was changed. */
export async function mutant(path: string, from: string, to: string): Promise<readonly Transition[]> {
  const url = new URL(`../../${path}`, import.meta.url);
  const source = await Deno.readTextFile(url);
  if (source.split(from).length !== 2) throw new Error(`${path} must have exactly once: ${from}`);
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    const absolute = source.replace(from, () => to)
      .replace(/from "(\.[^"]+)"/g, (_, relative: string) => `from "${new URL(relative, url).href}"`);
    await Deno.writeTextFile(file, absolute);
    const module: Record<string, unknown> = await import(`file://${file}`);
    return Object.values(module).find(Array.isArray) as readonly Transition[];
  } finally {
    await Deno.remove(file);
  }
}
