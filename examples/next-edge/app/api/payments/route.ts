import { createIdempotency, createThrottle, HoldfastError, memoryStore } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";

export const runtime = "edge";

const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = process.env;
const store = url && token ? upstashStore({ url, token }) : memoryStore();
const idempotency = createIdempotency(store, { name: "payments" });
const throttle = createThrottle(store, { name: "payments", limit: 5, window: "1m" });

export async function POST(request: Request): Promise<Response> {
  const customer = request.headers.get("x-customer"); // your login knows the customer
  const key = request.headers.get("idempotency-key");
  if (customer === null || key === null) return Response.json({ error: "who, and which payment?" }, { status: 400 });
  try {
    // The throttle stands inside: a repeated request gets its answer, and costs no quota.
    const result = await idempotency.run(`${customer}:${key}`, () => charge(customer), { wait: "5s" });
    return Response.json(result, { status: 201 });
  } catch (error) {
    if (error instanceof TooMany) {
      return Response.json({ error: error.message }, { status: 429, headers: { "retry-after": error.seconds } });
    }
    if (error instanceof HoldfastError && error.retryable) return Response.json({ error: "try again" }, { status: 503 });
    throw error;
  }
}

class TooMany extends Error {
  constructor(readonly seconds: string) {
    super("too many requests");
  }
}

async function charge(customer: string): Promise<{ charge: number }> {
  const { allowed, retryAfter } = await throttle.check(customer);
  if (!allowed) throw new TooMany(String(Math.ceil(retryAfter / 1000))); // what throws is not kept
  const { value } = await store.increment("charges");
  return { charge: value };
}
