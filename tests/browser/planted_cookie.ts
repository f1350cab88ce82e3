/**
 * Plants session cookies from a sibling host in a real Chromium, and looks whether a server takes them for
 * its own: the attack of CVE-2026-39410's kind. Servers run on workerd, Deno, Node and Bun.
 */
import type { BrowserContext } from "playwright-core";
import { assert, assertEquals } from "../support/assert.ts";
import { bundle } from "../support/bundle.ts";
import { bunPath } from "../support/runtimes.ts";
import { startWorkerd } from "../support/workerd.ts";

/** Chromium's argument that makes the hosts of the test this machine. */
export const RESOLVER_RULES = "--host-resolver-rules=MAP *.shop.test 127.0.0.1";

/**
 * Characters that JavaScript's `trim()` strips and browsers keep, as the bytes that the hostile server sends.
 */
const SPACES: Record<string, string> = {
  "U+2000": "\u00e2\u0080\u0080",
  "U+3000": "\u00e3\u0080\u0080",
  "U+FEFF": "\u00ef\u00bb\u00bf",
  "U+00A0": "\u00c2\u00a0",
  "a bare byte A0": "\u00a0",
};

const SERVE: Record<string, string> = {
  deno: `import app from "./app.mjs";
    Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: ({ port }) => console.log("port", port) }, app.fetch);`,
  bun: `import app from "./app.mjs";
    console.log("port", Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: app.fetch }).port);`,
  node: `import app from "./app.mjs";
    import { createServer } from "node:http";
    const server = createServer(async (incoming, outgoing) => {
      const { method, url, headers } = incoming;
      const response = await app.fetch(new Request("http://" + headers.host + url, { method, headers }));
      outgoing.writeHead(response.status, [...response.headers].flat());
      outgoing.end(Buffer.from(await response.arrayBuffer()));
    });
    server.listen(0, "127.0.0.1", () => console.log("port", server.address().port));`,
};

/** A running server. */
interface Server extends AsyncDisposable {
  readonly port: number;
}

async function startProgram(runtime: string, folder: string): Promise<Server> {
  const file = `${folder}/${runtime}.mjs`;
  await Deno.writeTextFile(file, SERVE[runtime]!);
  const command = {
    deno: [Deno.execPath(), "run", "--quiet", "--no-config", "-A"],
    node: ["node"],
    bun: [bunPath()],
  };
  const [program, ...args] = [...command[runtime as keyof typeof command], file];
  const child = new Deno.Command(program!, {
    args,
    stdout: "piped",
    stderr: "inherit",
    env: { NO_COLOR: "1" },
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "";;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the server under ${runtime} did not start: ${text}`);
    text += value;
    const port = /port (\d+)/.exec(text)?.[1];
    if (port === undefined) continue;
    return {
      port: Number(port),
      async [Symbol.asyncDispose]() {
        await reader.cancel();
        child.kill("SIGKILL");
        await child.status;
      },
    };
  }
}

async function startServer(runtime: string, folder: string): Promise<Server> {
  if (runtime !== "workerd") return await startProgram(runtime, folder);
  const worker = await startWorkerd({ entry: new URL("planted_app.ts", import.meta.url) });
  return {
    port: Number(new URL(worker.url).port),
    [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose](),
  };
}

/** Runs the attack against a server under that runtime; throws where a planted cookie counts. */
export async function plantedCookie(
  runtime: string,
  newContext: () => Promise<BrowserContext>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const { code } = await bundle({ entry: new URL("planted_app.ts", import.meta.url) });
  await Deno.writeTextFile(`${folder}/app.mjs`, code);
  await using server = await startServer(runtime, folder);
  const shop = `http://www.shop.test:${server.port}`;
  const login = await fetch(`http://127.0.0.1:${server.port}/login/eve`, { method: "POST" });
  await login.text();
  const token = /^__Host-session=([\w-]{43})/.exec(login.headers.getSetCookie()[0]!)![1]!;
  const evil = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
    const headers = new Headers({ "content-type": "text/html" });
    for (const space of Object.values(SPACES)) {
      headers.append("set-cookie", `${space}__Host-session=${token}; Domain=shop.test; Path=/me`);
    }
    return new Response("planted", { headers });
  });
  const context = await newContext();
  try {
    const page = await context.newPage();
    await page.goto(`http://evil.shop.test:${evil.addr.port}/`);
    const planted = (await context.cookies(`${shop}/me`)).length;
    assert(planted >= 4, `Chromium keeps the planted cookies: ${planted}`);
    const answer = await page.goto(`${shop}/me`);
    const { user, cookie } = await answer!.json();
    assert(String.fromCharCode(...cookie).includes(token), "and sends them");
    assertEquals(user, null, "no planted cookie counts");
  } finally {
    await context.close();
    await evil.shutdown();
    await Deno.remove(folder, { recursive: true });
  }
}
