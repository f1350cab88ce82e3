import { memoryStore } from "@holdfast/edge";
import { withIdempotency, withThrottle } from "@holdfast/edge/http";
import { upstashStore } from "@holdfast/edge/upstash";

export const runtime = "edge";

const { UPSTASH_REDIS_REST_URL: url, UPSTASH_REDIS_REST_TOKEN: token } = process.env;
const store = url && token ? upstashStore({ url, token }) : memoryStore();
const customer = (request: Request) => request.headers.get("x-customer") ?? "guest"; // your login knows it

async function charge(): Promise<Response> {
  const { value } = await store.increment("charges");
  return Response.json({ charge: value }, { status: 201 });
}

// The throttle stands inside: a repeated request gets its answer, and costs no quota.
const throttled = withThrottle(charge, { store, name: "payments", limit: 5, window: "1m", key: customer });
const pay = withIdempotency(throttled, { store, scope: customer });

export const POST = (request: Request): Promise<Response> => pay(request);
