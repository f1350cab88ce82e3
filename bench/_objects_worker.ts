/** The Worker of `objects.ts`: our store beside an object written by hand for the one task, both in the same workerd. */
import { DurableObject } from "cloudflare:workers";
import { createLocks, createSessions, createThrottle } from "@holdfast/edge";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
export { HoldfastObject } from "@holdfast/edge/durable-objects/object";

interface Sql {
  exec(query: string, ...bindings: unknown[]): { toArray(): Record<string, unknown>[] };
}

/** The code of a developer who needs exactly this: the same guarantees, no more, one row a task. */
export class FloorObject extends DurableObject {
  readonly #sql: Sql;

  constructor(state: { storage: { sql: Sql } }, env: unknown) {
    super(state as never, env as never);
    this.#sql = state.storage.sql;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT, expires INTEGER) WITHOUT ROWID",
    );
  }

  #read(key: string): string | undefined {
    const [row] = this.#sql.exec(
      "SELECT value FROM state WHERE key = ? AND (expires IS NULL OR expires > ?)",
      key,
      Date.now(),
    ).toArray();
    return row?.value as string | undefined;
  }

  #write(key: string, value: string, expires: number | null): void {
    this.#sql.exec("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", key, value, expires);
  }

  increment(key: string): number {
    const next = Number(this.#read(key) ?? 0) + 1;
    this.#write(key, String(next), null);
    return next;
  }

  /** A lock with a fencing token, which outlives its holder. */
  acquire(key: string, owner: string, ttl: number): number | undefined {
    const [fence = "0", holder = "", until = "0"] = this.#read(key)?.split(" ") ?? [];
    const now = Date.now();
    if (holder !== "" && holder !== owner && Number(until) > now) return undefined;
    const next = holder === owner ? Number(fence) : Number(fence) + 1;
    this.#write(key, `${next} ${owner} ${now + ttl}`, null);
    return next;
  }

  release(key: string, owner: string): boolean {
    const [fence, holder] = this.#read(key)?.split(" ") ?? [];
    if (holder !== owner) return false;
    this.#write(key, `${fence}  0`, null);
    return true;
  }

  /** GCRA in one number: the theoretical arrival time. */
  check(
    key: string,
    limit: number,
    window: number,
  ): { allowed: boolean; remaining: number; retryAfter: number } {
    const now = Date.now();
    const each = window / limit;
    const before = Math.max(now, Number(this.#read(key) ?? 0));
    const next = before + each;
    if (next - now > window) return { allowed: false, remaining: 0, retryAfter: next - now - window };
    this.#write(key, String(next), Math.ceil(next));
    return { allowed: true, remaining: Math.floor((window - (next - now)) / each), retryAfter: 0 };
  }

  /** A session: its values as one text. */
  load(key: string): string | undefined {
    return this.#read(key);
  }

  save(key: string, values: string): void {
    this.#write(key, values, Date.now() + 1_800_000);
  }
}

interface FloorStub {
  increment(key: string): Promise<number>;
  acquire(key: string, owner: string, ttl: number): Promise<number | undefined>;
  release(key: string, owner: string): Promise<boolean>;
  check(key: string, limit: number, window: number): Promise<{ allowed: boolean }>;
  load(key: string): Promise<string | undefined>;
  save(key: string, values: string): Promise<void>;
}

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  readonly FLOOR: { getByName(name: string): FloorStub };
}

const key = (i: number) => `key-${i % 50}`;

/** The calls by name, each as a pair: ours, and the floor. */
async function calls({ HOLDFAST, FLOOR }: Env): Promise<Record<string, (i: number) => Promise<unknown>>> {
  const store = durableObjectStore(HOLDFAST, { prefix: "bench" });
  const locks = createLocks(store);
  const throttle = createThrottle(store, { name: "bench", limit: 1_000_000, window: "1m" });
  const sessions = createSessions(store, { touchEvery: "1h" }); // or a load would begin to ask for revocations, too
  const cookies: string[] = [];
  for (let i = 0; i < 10; i++) {
    const session = sessions.open(null);
    session.set("n", 1);
    cookies.push((await sessions.commit(session))!.split(";")[0]!);
    await FLOOR.getByName(`session-${i}`).save("session", '{"n":1}');
  }
  return {
    "increment: holdfast": (i) => store.increment(key(i)),
    "increment: by hand": (i) => FLOOR.getByName(`n-${key(i)}`).increment("n"),
    "lock and release: holdfast": async (i) => await (await locks.acquire(key(i), { ttl: "30s" }))!.release(),
    "lock and release: by hand": async (i) => {
      const stub = FLOOR.getByName(`lock-${key(i)}`);
      const owner = crypto.randomUUID();
      await stub.acquire("lock", owner, 30_000);
      await stub.release("lock", owner);
    },
    "throttle check: holdfast": (i) => throttle.check(key(i)),
    "throttle check: by hand": (i) => FLOOR.getByName(`throttle-${key(i)}`).check("t", 1_000_000, 60_000),
    "session load: holdfast": (i) => sessions.open(cookies[i % 10]).get("n"),
    "session load: by hand": async (i) => {
      return JSON.parse((await FLOOR.getByName(`session-${i % 10}`).load("session"))!).n;
    },
  };
}

let made: Promise<Record<string, (i: number) => Promise<unknown>>> | undefined;

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { searchParams } = new URL(request.url);
    const all = await (made ??= calls(env));
    const call = all[searchParams.get("call")!];
    if (call === undefined) return Response.json(Object.keys(all));
    const count = Number(searchParams.get("count"));
    for (let i = 0; i < count; i++) await call(i);
    return new Response("done");
  },
};
