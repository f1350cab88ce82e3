/**
 * Explores small worlds breadth first: three callers of a few keys, a clock that stands, steps on and steps back, and a network
 * in which a message that was sent may arrive at any time, again and again, with its reply received or lost. What is explored
 * are transitions in TypeScript or in Lua on a real Redis, as they are shipped or with one place changed.
 */
import type { Fields, Transition } from "@holdfast/edge/engine";
import {
  inputArgs,
  loadScript,
  luaScript,
  unpacked,
  type UpstashScript,
} from "../../adapters/upstash/_lua.ts";
import { fromPairs, listOf, loadedOf, outputOf } from "../../adapters/upstash/_replies.ts";
import { inVirtualTime } from "../../adapters/upstash/_virtual_time.ts";
import { compileTransitions } from "../../adapters/upstash/compile/compile_transitions.ts";
import { loadCompilers } from "../../adapters/upstash/compile/compilers.ts";
import { allScripts } from "../../adapters/upstash/scripts.ts";
import { RedisError, type Reply, type RespConnection } from "../support/resp.ts";

/** The time at which the exploration begins. */
export const BEGIN = 1_000_000;

/** A message: a call of a transition on a key. */
export interface Call {
  readonly transition: string;
  readonly input: Fields;
  /** The scenario's record, where it has several. */
  readonly key?: string;
}

/** A record and when it ends. */
interface Stored {
  readonly record: Fields;
  readonly deadline: number | undefined;
}

/** A state of the world: plain data, so that equal states are recognised. */
export interface World<Knowledge> {
  readonly records: Readonly<Record<string, Stored>>;
  readonly now: number;
  /** The names of the messages that were sent. */
  readonly sent: readonly string[];
  /** The facts that were learned, and must hold from then on. */
  readonly known: Knowledge;
}

/** The promises of a contract, and the steps of its callers. */
export interface Scenario<Knowledge> {
  readonly begin: Knowledge;
  /** Messages that arrived before the exploration begins. */
  readonly before?: readonly string[];
  /** Messages that are on their way when it begins. */
  readonly sent?: readonly string[];
  /** The message with that name. */
  readonly call: (name: string) => Call;
  /** The messages that callers may send now. */
  readonly sendable: (world: World<Knowledge>) => readonly string[];
  /** Whether a message that was sent may arrive now; where it is absent, always. */
  readonly mayArrive?: (name: string, world: World<Knowledge>) => boolean;
  /**
   * The facts after a message was executed, its reply received or not; throws the broken promise as a
   * sentence.
   */
  readonly learn: (name: string, output: Fields, received: boolean, world: World<Knowledge>) => Knowledge;
  /** The largest step of the clock, in milliseconds. */
  readonly steps: readonly number[];
}

/** A transition to run. */
export interface Job {
  readonly transition: string;
  readonly input: Fields;
  readonly stored: Stored | undefined;
  readonly now: number;
}

/** The steps that were taken. */
export interface Outcome {
  readonly output: Fields;
  readonly stored: Stored | undefined;
}

/** Runs transitions, each on a record of its own. */
export type Executor = (jobs: readonly Job[]) => Promise<readonly Outcome[]>;

/** The extent of the exploration. */
export interface Explored {
  readonly states: number;
  readonly steps: number;
  readonly depth: number;
  /** The shortest history that breaks a promise. */
  readonly breach?: string;
}

interface Node<Knowledge> {
  readonly world: World<Knowledge>;
  readonly event: string;
  readonly parent: Node<Knowledge> | undefined;
}

/** Explores to a depth, or until a promise is broken. */
export async function explore<Knowledge>(
  run: Executor,
  scenario: Scenario<Knowledge>,
  depth: number,
): Promise<Explored> {
  const outcomes = new Map<string, Outcome>();
  const seen = new Set<string>();
  let steps = 0;
  let level = [await start(run, scenario)];
  for (let at = 1; at <= depth && level.length > 0; at++) {
    const jobs = new Map<string, Job>();
    for (const { world } of level) {
      for (const name of arriving(world, scenario)) {
        const [key, job] = jobOf(name, world, scenario);
        if (!outcomes.has(key)) jobs.set(key, job);
      }
    }
    const done = await run([...jobs.values()]);
    [...jobs.keys()].forEach((key, i) => outcomes.set(key, done[i]!));
    const next: Node<Knowledge>[] = [];
    for (const parent of level) {
      for (const [event, move] of moves(parent.world, scenario, outcomes)) {
        steps++;
        try {
          const world = move();
          const key = JSON.stringify(world);
          if (seen.has(key)) continue;
          seen.add(key);
          next.push({ world, event, parent });
        } catch (error) {
          const breach = `${(error as Error).message}: ${trace({ world: parent.world, event, parent })}`;
          return { states: seen.size, steps, depth: at, breach };
        }
      }
    }
    level = next;
  }
  return { states: seen.size, steps, depth };
}

function trace(node: Node<unknown>): string {
  const events: string[] = [];
  for (let at: Node<unknown> | undefined = node; at?.parent; at = at.parent) events.unshift(at.event);
  return events.join(", ");
}

async function start<Knowledge>(run: Executor, scenario: Scenario<Knowledge>): Promise<Node<Knowledge>> {
  let world: World<Knowledge> = { records: {}, now: BEGIN, sent: scenario.sent ?? [], known: scenario.begin };
  for (const name of scenario.before ?? []) {
    const [, job] = jobOf(name, world, scenario);
    world = arrived(name, (await run([job]))[0]!, true, world, scenario);
  }
  return { world, event: "", parent: undefined };
}

function arriving<Knowledge>(world: World<Knowledge>, { mayArrive }: Scenario<Knowledge>): readonly string[] {
  return mayArrive === undefined ? world.sent : world.sent.filter((name) => mayArrive(name, world));
}

const keyOf = ({ key = "key" }: Call) => key;

function jobOf<Knowledge>(
  name: string,
  { records, now }: World<Knowledge>,
  { call }: Scenario<Knowledge>,
): [key: string, job: Job] {
  const { transition, input, ...others } = call(name);
  const stored = records[keyOf({ transition, input, ...others })];
  return [`${name} ${now} ${JSON.stringify(stored)}`, { transition, input, stored, now }];
}

function* moves<Knowledge>(
  world: World<Knowledge>,
  scenario: Scenario<Knowledge>,
  outcomes: ReadonlyMap<string, Outcome>,
): Generator<[string, () => World<Knowledge>]> {
  for (const by of scenario.steps) {
    const event = by > 0 ? `${by} ms pass` : `the clock steps back ${-by} ms`;
    yield [event, () => ({ ...world, now: world.now + by })];
  }
  for (const name of scenario.sendable(world)) {
    if (world.sent.includes(name)) continue;
    yield [`${name} is sent`, () => ({ ...world, sent: [...world.sent, name].sort() })];
  }
  for (const name of arriving(world, scenario)) {
    const outcome = outcomes.get(jobOf(name, world, scenario)[0])!;
    for (const received of [true, false]) {
      const event = `${name} arrives${received ? "" : ", its reply is lost"}`;
      yield [event, () => arrived(name, outcome, received, world, scenario)];
    }
  }
}

function arrived<Knowledge>(
  name: string,
  { output, stored }: Outcome,
  received: boolean,
  world: World<Knowledge>,
  { call, learn }: Scenario<Knowledge>,
): World<Knowledge> {
  const known = learn(name, output, received, world);
  const { [keyOf(call(name))]: _, ...others } = world.records;
  const records = stored === undefined ? others : { ...others, [keyOf(call(name))]: stored };
  return { ...world, records: sorted(records), known };
}

function sorted<T>(record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => a < b ? -1 : 1));
}

/** Runs the transitions as they are. */
export function inTypeScript(transitions: readonly Transition[]): Executor {
  const byName = new Map(transitions.map((transition) => [transition.name, transition]));
  return (jobs) =>
    Promise.resolve(jobs.map(({ transition, input, stored, now }): Outcome => {
      const live = stored?.deadline !== undefined && now >= stored.deadline ? undefined : stored?.record;
      const { output, write } = byName.get(transition)!.apply(live, input, now);
      if (write === undefined) return { output, stored };
      const { record, expiresAt } = write;
      return { output, stored: record && { record: sorted(record), deadline: expiresAt } };
    }));
}

const decoder = new TextDecoder();

function textOf(reply: Reply): string {
  if (reply instanceof RedisError) throw new Error(reply.message);
  return decoder.decode(reply as Uint8Array);
}

/** Runs scripts on a Redis; a transition without one decides on the record that was loaded, as in the engine. */
export function inLua(
  connection: RespConnection,
  scripts: ReadonlyMap<string, UpstashScript>,
  transitions: readonly Transition[],
): Executor {
  const shas = new Map<string, string>();
  const byName = new Map(transitions.map((transition) => [transition.name, transition]));
  return async (jobs) => {
    const commands: string[][] = [];
    for (const { transition, input, stored, now } of jobs) {
      const script = scripts.get(transition);
      if (!shas.has(transition)) {
        const text = script === undefined ? loadScript(inVirtualTime) : luaScript(script, inVirtualTime);
        shas.set(transition, textOf((await connection.send(["SCRIPT", "LOAD", text]))[0]!));
      }
      const flat = stored === undefined ? [] : Object.entries(stored.record).flat();
      if (stored?.deadline !== undefined) flat.push("@", String(stored.deadline));
      commands.push(["DEL", "key"]);
      // Four commands a job, whatever the record is: replies are found by their place.
      commands.push(flat.length === 0 ? ["PING"] : ["HSET", "key", ...flat]);
      commands.push([
        "EVALSHA",
        shas.get(transition)!,
        "1",
        "key",
        String(now),
        ...inputArgs(input, script?.fields ?? []),
      ]);
      commands.push(["HGETALL", "key"]);
    }
    const replies: Reply[] = [];
    for (let from = 0; from < commands.length; from += 10_000) {
      for (const reply of await connection.send(...commands.slice(from, from + 10_000))) replies.push(reply);
    }
    return jobs.map(({ transition, input }, i): Outcome => {
      const reply = replies[4 * i + 2]!;
      if (reply instanceof RedisError) throw new Error(reply.message);
      const script = scripts.get(transition);
      const loaded = script === undefined ? loadedOf(listOf(reply)) : undefined;
      const output = loaded
        ? byName.get(transition)!.apply(loaded.record, input, loaded.now).output
        : outputOf(reply, script!.kind);
      const flat = (replies[4 * i + 3] as Reply[]).map(textOf);
      if (flat.length === 0) return { output, stored: undefined };
      const { "@": deadline, ...record } = fromPairs(flat);
      return {
        output,
        stored: { record: sorted(record), deadline: deadline === undefined ? undefined : Number(deadline) },
      };
    });
  };
}

/** The shipped scripts, their fast paths included. */
export const shippedScripts: ReadonlyMap<string, UpstashScript> = new Map(
  allScripts.flatMap((scripts) => [...unpacked(scripts)]),
);

/** A transition's source in which one place was changed. */
async function changedFile(path: string, from: string, to: string): Promise<string> {
  const url = new URL(`../../${path}`, import.meta.url);
  const source = await Deno.readTextFile(url);
  if (source.split(from).length !== 2) throw new Error(`${path} must have exactly once: ${from}`);
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  const absolute = source.replace(from, () => to)
    .replace(/from "(\.[^"]+)"/g, (_, relative: string) => `from "${new URL(relative, url).pathname}"`);
  await Deno.writeTextFile(file, absolute);
  return file;
}

/** The transitions of a source file in which one place was changed, in TypeScript. */
export async function mutant(path: string, from: string, to: string): Promise<readonly Transition[]> {
  const file = await changedFile(path, from, to);
  try {
    const module: Record<string, unknown> = await import(`file://${file}`);
    return Object.values(module).find(Array.isArray) as readonly Transition[];
  } finally {
    await Deno.remove(file);
  }
}

/** The same in Lua. */
export async function mutantScripts(
  path: string,
  from: string,
  to: string,
): Promise<ReadonlyMap<string, UpstashScript>> {
  const file = await changedFile(path, from, to);
  try {
    const compiled = compileTransitions([file], await loadCompilers());
    return new Map(
      compiled.map(({ name, kind, fields, parts }) => [name, { kind, fields, lua: parts.join("\n") }]),
    );
  } finally {
    await Deno.remove(file);
  }
}
