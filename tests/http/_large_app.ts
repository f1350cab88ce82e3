/** Answers that are not kept, as a handler: too large, endless, broken. Web APIs alone. */
import { type ExecutionContext, Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { idempotency } from "@holdfast/edge/hono";
import { withIdempotency } from "@holdfast/edge/http";

/** The fate of the work under a key. */
export interface Work {
  runs: number;
  /** The chunks that the last body has made. */
  chunks: number;
  cancelled: number;
}

/** The size of a chunk. */
export const CHUNK = 65_536;
/** The chunks of a large answer: 20 MiB. */
export const LARGE = 320;

const works: Record<string, Work> = {};
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

function answer(request: Request): Response {
  const key = request.headers.get("idempotency-key")!;
  const kind = new URL(request.url).pathname.split("/")[2];
  const work = works[key] ??= { runs: 0, chunks: 0, cancelled: 0 };
  work.runs++;
  work.chunks = 0;
  return new Response(
    new ReadableStream<Uint8Array>({
      async pull(controller) {
        await sleep(1);
        if (kind === "broken" && work.chunks === 3) return controller.error(new Error("broken"));
        if (kind === "large" && work.chunks === LARGE) return controller.close();
        work.chunks++;
        controller.enqueue(new Uint8Array(CHUNK));
      },
      cancel: () => void work.cancelled++,
    }),
  );
}

/** The longest time of a claim, in milliseconds: far more than a busy machine takes to tell that work is done. */
export const MAX_HOLD = 9000;
// Two thirds of a lease are left when it is renewed, for a machine that is late.
const options = { scope: "public", lease: "3s", maxHold: MAX_HOLD } as const;

/** The context of workerd; other servers hand over something else, or nothing. */
interface Context {
  readonly env?: object;
  readonly ctx?: unknown;
}

/** The app, under `/hono/KIND` and `/plain/KIND`. */
export function largeApp(): (request: Request, context?: Context) => Response | Promise<Response> {
  const app = new Hono();
  app.post("/hono/:kind", idempotency({ ...options, store: memoryStore() }), (c) => answer(c.req.raw));
  const plain = withIdempotency(answer, { ...options, store: memoryStore() });
  return (request, context?: Context) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/works") return Response.json(works);
    if (!pathname.startsWith("/hono/")) return plain(request, context);
    return app.fetch(request, context?.env, context?.ctx as ExecutionContext | undefined);
  };
}
