// deno-lint-ignore-file no-console no-explicit-any
/** The runtime's own server of a program under Deno, Node or Bun. */

const runtime = globalThis as any;

/** The argument of the program. */
export function argument(): string {
  return (runtime.Deno?.args ?? runtime.process.argv.slice(2))[0];
}

/** Serves the handler on a free port, and prints it. */
export async function listen(handler: (request: Request, context: any) => unknown): Promise<void> {
  if (runtime.Bun) {
    console.log(`port ${runtime.Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: handler }).port}`);
  } else if (runtime.Deno) {
    const onListen = ({ port }: { port: number }) => console.log(`port ${port}`);
    runtime.Deno.serve({ port: 0, hostname: "127.0.0.1", onListen }, handler);
  } else {
    // Not bundled: the program stands beside node_modules.
    const name = "@hono/node-server";
    const { serve } = await import(name);
    serve({ fetch: handler, port: 0, hostname: "127.0.0.1" }, ({ port }: { port: number }) => {
      console.log(`port ${port}`);
    });
  }
}
