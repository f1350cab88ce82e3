/**
 * The published prices: the one place where they stand. `tables.ts` turns them into the tables of `docs/engines`. A price is what
 * one million units cost in US dollars beyond what a plan includes. Each was read on the day of {@linkcode READ_ON}; a price that
 * was not found on a page of the vendor itself stands nowhere.
 */

/** The day on which the pages were read. */
export const READ_ON = "2026-11-29";

/** The units by which a platform bills a call. */
export type Unit =
  | "requests"
  | "commands"
  | "rows read"
  | "rows written"
  | "reads"
  | "writes"
  | "statements";

/** The prices of a platform. */
export interface Prices {
  /** Dollars a million, by unit; a unit that stands in a table of counts and not here has no price of its own. */
  readonly million: Readonly<Partial<Record<Unit, number>>>;
  /** The vendor's page. */
  readonly page: string;
  /** The plan that the prices belong to. */
  readonly plan: string;
}

/** By the name of the engine in the tables. */
export const PRICES: Readonly<Record<string, Prices>> = {
  "Upstash": {
    million: { commands: 2 },
    page: "https://upstash.com/docs/redis/overall/billing",
    plan: "pay as you go, one region",
  },
  "Durable Objects": {
    million: { requests: 0.15, "rows read": 0.001, "rows written": 1 },
    page: "https://developers.cloudflare.com/durable-objects/platform/pricing/",
    plan: "Workers Paid",
  },
  "D1": {
    million: { "rows read": 0.001, "rows written": 1 },
    page: "https://developers.cloudflare.com/d1/platform/pricing/",
    plan: "Workers Paid",
  },
  "Workers KV": {
    million: { reads: 0.5, writes: 5 },
    page: "https://developers.cloudflare.com/kv/platform/pricing/",
    plan: "Workers Paid",
  },
};
