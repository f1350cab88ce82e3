/** The probes inside a Worker, by name. */
export type Probes<Env> = Readonly<Record<string, (env: Env, query: URLSearchParams) => Promise<unknown>>>;

/** A Worker that runs the probe a path names and answers what it found, or a 500 with the error's stack. */
export function probing<Env>(probes: Probes<Env>) {
  return {
    async fetch(request: Request, env: Env): Promise<Response> {
      const { pathname, searchParams } = new URL(request.url);
      try {
        return Response.json(await probes[pathname.slice(1)]!(env, searchParams));
      } catch (error) {
        return new Response(String((error as Error).stack), { status: 500 });
      }
    },
  };
}
