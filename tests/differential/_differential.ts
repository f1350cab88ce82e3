/**
 * Holds a transition in Lua, the compiled form and the fast path by hand, to its TypeScript original: random histories on
 * one key under a virtual clock, each step's output and record compared. A history is predicted here, then sent to a real Redis as one pipeline.
 */
import type { Fields, Transition } from "@holdfast/edge/engine";
import {
  inputArgs,
  loadScript,
  luaScript,
  unpacked,
  type UpstashScript,
} from "../../adapters/upstash/_lua.ts";
import { fastPaths } from "../../adapters/upstash/compile/fast_paths.ts";
import { listOf, loadedOf, outputOf } from "../../adapters/upstash/_replies.ts";
import { inVirtualTime } from "../../adapters/upstash/_virtual_time.ts";
import { allScripts } from "../../adapters/upstash/scripts.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { RedisError, type Reply, RespConnection } from "../support/resp.ts";
import { Random } from "../support/random.ts";

/** A transition and how to make an input for it. */
export interface Case {
  readonly transition: Transition;
  readonly input: (random: Random, record: Fields | undefined, now: number) => Fields;
}

/** While cases are collected, `compare` only notes its cases here. */
let collected: (readonly Case[])[] | undefined;

/**
 * Collects the cases that test files compare, a list for each call of `compare`, without comparing any. So a transition has one
 * table of inputs, in the test of its contract. The cases of one list share a record.
 */
export async function collectCases(load: () => Promise<unknown>): Promise<(readonly Case[])[]> {
  const found: (readonly Case[])[] = collected = [];
  const deno = Deno as { test: unknown };
  const { test } = deno;
  const bodies: (() => unknown)[] = [];
  deno.test = (...args: unknown[]) => {
    const body = args.find((arg) => typeof arg === "function") ?? (args[0] as { fn: unknown }).fn;
    bodies.push(body as () => unknown);
  };
  try {
    await load();
    for (const body of bodies) await Promise.resolve().then(body).catch(() => {}); // nothing was compared
  } finally {
    deno.test = test;
    collected = undefined;
  }
  return found;
}

/** Options of {@linkcode compare}. */
export interface CompareOptions {
  /** Steps per transition at least. */
  readonly steps?: number;
  /** The largest step of the clock, in milliseconds. */
  readonly stride?: number;
  /**
   * Whether the clock goes far now and then, also to the record's deadline: state built up over many steps
   * then ends.
   */
  readonly jumps?: boolean;
  /** Steps on one record before it starts afresh. */
  readonly history?: number;
  /** The script of a transition, for planting a difference; none where the record is loaded and decided on here. */
  readonly script?: (name: string) => UpstashScript | undefined;
  /** Whether only the form with a fast path runs, where there is one, for a difference that is planted there. */
  readonly fastOnly?: boolean;
}

const decoder = new TextDecoder();

/** Every script, by the name of its transition. Most transitions that only read have none: the engine loads the record. */
export const scripts: ReadonlyMap<string, UpstashScript> = new Map(
  allScripts.flatMap((some) => [...unpacked(some)]),
);

/**
 * Scripts with a difference planted in the source of a fast path, or else in compiled Lua, for tests that want to see it
 * caught.
 */
export function planted(from: string, to: string): Required<CompareOptions>["script"] {
  let changed = 0;
  const all = new Map(Array.from(scripts, ([name, script]) => {
    const fast = fastPaths[name]?.lua;
    const inFast = fast?.includes(from) === true;
    if (inFast || script.lua.includes(from)) changed++;
    const other = inFast
      ? { ...script, fast: fast!.replaceAll(from, to) }
      : { ...script, lua: script.lua.replaceAll(from, to) };
    return [name, other];
  }));
  assert(changed > 0, `No script says ${from}`);
  return (name) => all.get(name);
}

/** A script that stores its input as it is. */
export function storing(deadline = "nil"): UpstashScript {
  const lua = `local function apply(r, i) return {output={}, write={record=i, expiresAt=${deadline}}} end`;
  return { kind: "write", fields: [], lua };
}

/** The scripts and one more, which stores its input as it is: records that are none of theirs. */
export const damaging: Required<CompareOptions>["script"] = (name) =>
  name === "test.damage" ? storing() : scripts.get(name);

/** The form without a fast path. */
function plain({ kind, fields, lua }: UpstashScript): UpstashScript {
  return { kind, fields, lua };
}

/** Runs histories until every case had its steps; throws on the first difference, with the seed that repeats it. */
export async function compare(cases: readonly Case[], options: CompareOptions = {}): Promise<number> {
  const { steps = 10_000, stride = 3000, history = 40, jumps = true, script = (name) => scripts.get(name) } =
    options;
  if (collected) {
    collected.push(cases);
    return 0;
  }
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  const random = new Random(seed);
  await using redis = await startRedis();
  const connection = await RespConnection.open(redis.port);
  try {
    // With its fast path, and without.
    const shas = new Map<string, readonly string[]>();
    for (const { transition } of cases) {
      const own = script(transition.name);
      const forms = own === undefined
        ? [loadScript(inVirtualTime)]
        : (own.fast && !options.fastOnly ? [own, plain(own)] : [own]).map((form) =>
          luaScript(form, inVirtualTime)
        );
      const loaded = await connection.send(...forms.map((form) => ["SCRIPT", "LOAD", form]));
      shas.set(
        transition.name,
        loaded.map((sha) => {
          if (sha instanceof Uint8Array) return decoder.decode(sha);
          throw new Error(
            `the script of ${transition.name} does not compile: ${(sha as RedisError).message}`,
          );
        }),
      );
    }
    const counts = new Map<string, number>();
    let total = 0;
    while (cases.some(({ transition }) => (counts.get(transition.name) ?? 0) < steps)) {
      let now = 1_700_000_000_000 + random.below(2 ** 31);
      let record: Fields | undefined;
      let deadline: number | undefined;
      const commands: string[][] = [["DEL", "key"]];
      const expected: { transition: Transition; input: Fields; output: Fields; stored: Fields }[] = [];
      for (let i = 0; i < history; i++) {
        // Mostly onwards, often not at all, at times far, now and then back.
        now += random.pick([
          0,
          0,
          1,
          random.below(stride),
          random.below(stride),
          random.below(jumps ? 100_000_000 : stride),
          -random.below(50),
        ]);
        if (jumps && deadline !== undefined && random.chance(0.15)) now = deadline + random.pick([-1, 0, 1]);
        const { transition, input: make } = random.pick(cases);
        const live = deadline !== undefined && now >= deadline ? undefined : record;
        const input = make(random, live, now);
        const { output, write } = transition.apply(live, input, now);
        if (write) {
          record = write.record;
          deadline = write.record && write.expiresAt;
        }
        const stored = record && deadline !== undefined ? { ...record, "@": String(deadline) } : record ?? {};
        expected.push({ transition, input, output, stored });
        commands.push(
          [
            "EVALSHA",
            random.pick(shas.get(transition.name)!),
            "1",
            "key",
            String(now),
            ...inputArgs(input, script(transition.name)?.fields ?? []),
          ],
          ["HGETALL", "key"],
        );
        counts.set(transition.name, (counts.get(transition.name) ?? 0) + 1);
        total++;
      }
      const replies = await connection.send(...commands);
      expected.forEach(({ transition, input, output, stored }, i) => {
        const { name } = transition;
        const where = `SEED=${seed}: ${name} ${JSON.stringify(input)}, step ${i} of its history`;
        const answer = answered(replies[1 + 2 * i]!, script(name), transition, input);
        assertEquals(answer, sorted(output), `the output differs: ${where}`);
        assertEquals(pairs(texts(replies[2 + 2 * i]!)), sorted(stored), `the record differs: ${where}`);
      });
    }
    return total;
  } finally {
    connection.close();
  }
}

/** The output that the engine makes of a reply. */
function answered(
  reply: Reply,
  script: UpstashScript | undefined,
  transition: Transition,
  input: Fields,
): [string, string][] {
  if (reply instanceof RedisError) throw new Error(reply.message);
  if (script !== undefined) return sorted(outputOf(reply, script.kind));
  const { record, now } = loadedOf(listOf(reply));
  return sorted(transition.apply(record, input, now).output);
}

function texts(reply: Reply): string[] {
  return (reply as Reply[]).map((part) => {
    if (part instanceof RedisError) throw new Error(part.message);
    return decoder.decode(part as Uint8Array);
  });
}

function pairs(flat: readonly string[]): [string, string][] {
  return sorted(Object.fromEntries(flat.flatMap((name, i) => i % 2 === 0 ? [[name, flat[i + 1]!]] : [])));
}

function sorted(fields: Fields): [string, string][] {
  return Object.entries(fields).sort(([a], [b]) => a < b ? -1 : 1);
}
