/**
 * Idempotency as the system we come from does it (research/seeds.md, S1): SET NX, GET where the key was
 * taken, and GET and SET to complete. Written anew over the same REST client, to count and to compare.
 */
import type { Redis } from "@upstash/redis";

interface Stored {
  readonly status: "InProgress" | "Completed";
  readonly response?: unknown;
  readonly created_at: string;
  readonly updated_at: string;
}

const TTL = 86_400_000;

/** The answer of `begin`: claimed, at work, or the response. */
export type ThreeTripBegin =
  | { readonly state: "new" }
  | { readonly state: "in-progress" }
  | { readonly state: "completed"; readonly response: unknown };

export class ThreeTripIdempotency {
  readonly #redis: Redis;

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async begin(key: string): Promise<ThreeTripBegin> {
    const now = new Date().toISOString();
    const record: Stored = { status: "InProgress", created_at: now, updated_at: now };
    if (await this.#redis.set(key, record, { nx: true, px: TTL }) === "OK") return { state: "new" };
    const stored = await this.#redis.get<Stored>(key);
    if (stored === null) return { state: "new" }; // expired in between and unclaimed
    if (stored.status === "InProgress") return { state: "in-progress" };
    return { state: "completed", response: stored.response ?? null };
  }

  async complete(key: string, response: unknown): Promise<void> {
    const stored = await this.#redis.get<Stored>(key);
    if (stored === null) throw new Error("cannot complete an unknown key");
    const record: Stored = { ...stored, status: "Completed", response, updated_at: new Date().toISOString() };
    await this.#redis.set(key, record, { px: TTL });
  }
}
