/** The HTTP cache where it runs: streams, a fill's own signal, a 304, a POST, 20 requests at once. Web APIs alone. */
import { memoryStore } from "@holdfast/edge";
import { withCache } from "@holdfast/edge/http";

export async function scenario(): Promise<unknown> {
  let asked = 0;
  const handler = withCache(async (request: Request) => {
    asked++;
    const number = asked;
    if (request.method === "POST") return new Response("posted");
    if (request.headers.get("if-none-match") === '"v"') {
      return new Response(null, { status: 304, headers: { "cache-control": "max-age=60", etag: '"v"' } });
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
    const parts = [`answer ${number}`, ", ", "end"].map((part) => new TextEncoder().encode(part));
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        const part = parts.shift();
        if (part) controller.enqueue(part);
        else controller.close();
      },
    });
    return new Response(body, { headers: { "cache-control": "max-age=60", etag: '"v"' } });
  }, { store: memoryStore() });
  const send = (init?: RequestInit) => handler(new Request("https://example.com/page", init));
  const text = async (init?: RequestInit) => await (await send(init)).text();
  const together = new Set(await Promise.all(Array.from({ length: 20 }, () => text())));
  const conditional = (await send({ headers: { "if-none-match": '"v"' } })).status;
  const reloaded = await text({ headers: { "cache-control": "no-cache" } });
  const part = await text({ headers: { range: "bytes=0-5" } });
  await text({ method: "POST", body: "x" });
  return { together: [...together], conditional, reloaded, part, after: await text(), asked };
}
