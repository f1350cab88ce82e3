import { type Clock, systemClock } from "../../src/clock.ts";
import { HoldfastError } from "../../src/errors.ts";
import { randomToken } from "../../src/secret.ts";
import { callIdOf } from "../../src/store/call_id.ts";
import { transactByCompareAndSet, type VersionedRecord } from "../../src/store/compare_and_set.ts";
import type { AtomicEngine, EngineListOptions } from "../../src/store/engine.ts";
import type { CallOptions, ListPage } from "../../src/store/key_value_store.ts";
import type { Fields, Transition, Write } from "../../src/store/transition.ts";
import { type ListCursor, nextCursor, parseCursor, serializeCursor } from "./_cursor.ts";
import { type KeySpace, unescapeBraces } from "./_keys.ts";
import { inputArgs } from "./_lua.ts";
import { listOf, loadedOf, type LoadedRecord, outputOf, recordOf, timedRecordOf } from "./_replies.ts";
import type { Script, ScriptBook } from "./_scripts.ts";
import type { ScriptRunner } from "./_transport.ts";

/** The parts of an engine. */
export interface EngineParts {
  /** The engine's name for events and tables. */
  readonly name: string;
  readonly runner: ScriptRunner;
  readonly binding: object;
  readonly book: ScriptBook;
  readonly keys: KeySpace;
  readonly maxValueLength: number;
  /** A virtual time in place of the clock of Redis, for tests. */
  readonly virtualTime?: (() => number) | undefined;
}

/** One request of many keys: few enough for Lua's unpack, small enough for one request. */
const CHUNK = 500;
const CHUNK_BYTES = 250_000;

/** What may wait for replies at a time; see `upstashStore`. */
const MAX_PENDING_CALLS = 10_000;
const MAX_PENDING_LENGTH = 64 * 1024 * 1024;

/** Runs transitions as scripts, and the operations on many keys. */
export class UpstashEngine implements AtomicEngine {
  readonly name: string;
  readonly limits: { maxKeyBytes: number; maxValueLength: number };
  readonly binding: object;
  readonly scope: string;
  readonly #runner: ScriptRunner;
  readonly #book: ScriptBook;
  readonly #keys: KeySpace;
  readonly #virtualTime: (() => number) | undefined;
  #pendingCalls = 0;
  #pendingLength = 0;

  constructor({ name, runner, binding, book, keys, maxValueLength, virtualTime }: EngineParts) {
    this.name = name;
    this.#runner = runner;
    this.#book = book;
    this.#keys = keys;
    this.binding = binding;
    this.scope = keys.head;
    this.limits = { maxKeyBytes: 8192, maxValueLength };
    this.#virtualTime = virtualTime;
  }

  transact(transition: Transition, key: string, input: Fields, options?: CallOptions): Promise<Fields> {
    const script = this.#book.find(transition.name);
    const { hash } = this.#runner;
    // Redis drops a value at its very deadline, so nothing but the record need be known. A virtual time it
    // does not know.
    if (transition.name === "value.get" && hash !== undefined && this.#virtualTime === undefined) {
      const full = this.#keys.full(key);
      const send = () => hash.call(this.#runner, full, options?.signal);
      const read = (reply: unknown) => transition.apply(recordOf(reply), input, 0).output;
      return this.#send(full.length, send, options?.signal, false, read);
    }
    if (script === undefined) return this.#byCompareAndSet(transition, key, input, options?.signal);
    const { kind, fields } = script;
    const args = inputArgs(input, fields);
    if (this.#virtualTime) args.unshift(...this.#now());
    const keys = kind === "read" ? [this.#keys.full(key)] : this.#remembered(key, callIdOf(options));
    return this.#run(
      transition.name,
      keys,
      args,
      options?.signal,
      kind !== "read",
      (reply) => outputOf(reply, kind),
    );
  }

  #byCompareAndSet(
    transition: Transition,
    key: string,
    input: Fields,
    signal?: AbortSignal,
  ): Promise<Fields> {
    let time = 0;
    const backend = {
      load: async (): Promise<VersionedRecord> => {
        const { record, now } = await this.#load(this.#keys.full(key), signal);
        time = now;
        return { record, version: record === undefined ? [] : Object.entries(record).flat() };
      },
      commit: async (_key: string, version: unknown, write: Write): Promise<boolean> => {
        const loaded = version as string[];
        const next = write.record === undefined ? [] : Object.entries(write.record).flat();
        const deadline = write.expiresAt === undefined ? "" : String(write.expiresAt);
        const args = [...this.#now(), String(loaded.length), ...loaded, deadline, ...next];
        return (await this.#run("commit", this.#remembered(key), args, signal, true, listOf))[0] === "1";
      },
    };
    // The transition sees the time that its record was read at.
    const clock: Clock = { ...systemClock, now: () => time };
    return transactByCompareAndSet(backend, transition, key, input, { clock, signal });
  }

  /** A record, and when it was read. */
  #load(full: string, signal: AbortSignal | undefined): Promise<LoadedRecord> {
    const runner = this.#runner;
    if (runner.timedHash === undefined || this.#virtualTime !== undefined) {
      return this.#run("load", [full], this.#now(), signal, false, (reply) => loadedOf(listOf(reply)));
    }
    const send = () => runner.timedHash!(full, signal);
    return this.#send(full.length, send, signal, false, timedRecordOf);
  }

  async list({ prefix, cursor, limit, signal }: EngineListOptions): Promise<ListPage> {
    const from = parseCursor(cursor, this.#keys.oneSlot);
    if (from.left.length > 0) return page(from.left, limit, from);
    const { key, tail } = this.#keys.route(from.slot);
    const escaped = this.#keys.full(prefix).slice(this.#keys.head.length);
    const args = [from.scan, escaped, String(limit), String(tail)];
    const reply = await this.#run("list", [key], args, signal, false, listOf<string>);
    const [scan = "0", slots = "", ...found] = reply;
    // SCAN may show a key twice.
    const keys = [...new Set(found)].map(unescapeBraces);
    return page(keys, limit, nextCursor(from, scan, slots));
  }

  async getMany(keys: readonly string[], options?: CallOptions): Promise<(string | undefined)[]> {
    const replies = await Promise.all(
      this.#chunks(keys, (key) => key.length).map((some) => {
        const full = some.map((key) => this.#keys.full(key));
        return this.#run("get-many", full, [], options?.signal, false, listOf<string | false>);
      }),
    );
    return replies.flat().map((text) => text === false ? undefined : text);
  }

  async setMany(
    entries: readonly (readonly [string, string])[],
    ttl: number | undefined,
    options?: CallOptions,
  ): Promise<void> {
    await Promise.all(
      this.#chunks(entries, ([key, value]) => key.length + value.length).map((some) => {
        const values = some.map(([, value]) => value);
        const args = [...this.#now(), ttl === undefined ? "" : String(ttl), ...values];
        const keys = this.#rememberedMany(some.map(([key]) => key));
        return this.#run("set-many", keys, args, options?.signal, true, listOf);
      }),
    );
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    const replies = await Promise.all(
      this.#chunks(keys, (key) => key.length).map((some) =>
        this.#run("delete-many", this.#rememberedMany(some), [], options?.signal, true, listOf)
      ),
    );
    return replies.reduce((sum, [count]) => sum + Number(count), 0);
  }

  #now(): string[] {
    return this.#virtualTime ? [String(this.#virtualTime())] : [];
  }

  /** The key, and that of what is remembered of this call. */
  #remembered(key: string, id = randomToken(12)): string[] {
    const full = this.#keys.full(key);
    return [full, this.#keys.memory(full, id)];
  }

  /** That of what is remembered of this call, and the keys, which are in one slot. */
  #rememberedMany(keys: readonly string[]): string[] {
    const full = keys.map((key) => this.#keys.full(key));
    return [this.#keys.memory(full[0]!, randomToken(12)), ...full];
  }

  /**
   * Groups of keys for one script each. A cluster runs a script on the keys of one slot: then each key has a
   * script of its own.
   */
  #chunks<T>(items: readonly T[], size: (item: T) => number): T[][] {
    return this.#keys.oneSlot ? chunks(items, size) : items.map((item) => [item]);
  }

  async #run<T>(
    name: string,
    keys: string[],
    args: string[],
    signal: AbortSignal | undefined,
    writes: boolean,
    read: (reply: unknown) => T,
  ): Promise<T> {
    let length = 0;
    for (const text of keys) length += text.length;
    for (const text of args) length += text.length;
    const send = (scripts: ReadonlyMap<string, Script>) =>
      this.#runner.run(scripts.get(name)!, keys, args, signal);
    return await this.#send(length, send, signal, writes, read);
  }

  /** Calls that need no script wait for the scripts too: calls of one tick keep their order. */
  async #send<T>(
    length: number,
    send: (scripts: ReadonlyMap<string, Script>) => Promise<unknown>,
    signal: AbortSignal | undefined,
    writes: boolean,
    read: (reply: unknown) => T,
  ): Promise<T> {
    this.#admit(length);
    try {
      const scripts = this.#book.ready ?? await this.#book.load();
      signal?.throwIfAborted();
      return read(await send(scripts));
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw this.#runner.fault(error, writes);
    } finally {
      this.#pendingCalls--;
      this.#pendingLength -= length;
    }
  }

  /** Counts a call in, or refuses it before anything is sent. A single call is always taken, however long. */
  #admit(length: number): void {
    const { lengths, calls } = { lengths: this.#pendingLength + length, calls: this.#pendingCalls + 1 };
    if (calls > 1 && (calls > MAX_PENDING_CALLS || lengths > MAX_PENDING_LENGTH)) {
      throw new HoldfastError(
        "queue-full",
        `Cannot send the call as ${this.#pendingCalls} calls with ${this.#pendingLength} characters wait already: ` +
          `at most ${MAX_PENDING_CALLS} calls and ${MAX_PENDING_LENGTH} characters may`,
        { retryable: true },
      );
    }
    this.#pendingCalls = calls;
    this.#pendingLength = lengths;
  }
}

/** As many keys as were asked for. SCAN answers about as many: the rest waits in the cursor. */
function page(keys: readonly string[], limit: number, next: ListCursor): ListPage {
  const left = keys.slice(limit);
  const cursor = serializeCursor({ ...next, left });
  return { keys: keys.slice(0, limit), ...(cursor !== undefined && { cursor }) };
}

/** Groups that are few enough and small enough for one request. */
function chunks<T>(items: readonly T[], size: (item: T) => number): T[][] {
  const all: T[][] = [];
  let bytes = Infinity;
  for (const item of items) {
    if (bytes > CHUNK_BYTES || all.at(-1)!.length >= CHUNK) {
      all.push([]);
      bytes = 0;
    }
    all.at(-1)!.push(item);
    bytes += size(item);
  }
  return all;
}
