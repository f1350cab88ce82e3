/** A route of Next on its edge runtime. */
import { createThrottle, memoryStore } from "@holdfast/edge";

export const runtime = "edge";

const throttle = createThrottle(memoryStore(), { name: "api", limit: 2, window: "1m" });

export async function GET(): Promise<Response> {
  const { allowed, remaining } = await throttle.check("everybody");
  return Response.json({ allowed, remaining }, { status: allowed ? 200 : 429 });
}
