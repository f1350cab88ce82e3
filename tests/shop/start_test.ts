/**
 * `deno task start`: its banner's curl lines answer as written, and what it cannot do it says in one line.
 */
import { assert, assertEquals, assertMatch, assertStrictEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";

/** The very task, with its permissions; state goes to a folder of the test's own by default. */
function command(port: string, ...args: string[]): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: [
      "task",
      "--quiet",
      "start",
      ...(args.length > 0 ? args : [`--data=${Deno.makeTempDirSync()}/shop`]),
    ],
    env: { PORT: port, NO_COLOR: "1", UPSTASH_REDIS_REST_URL: "", UPSTASH_REDIS_REST_TOKEN: "" },
    stdout: "piped",
    stderr: "piped",
  });
}

/** Reads what the shop says until it has said everything. */
async function banner(stdout: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stdout.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while ((text.match(/^ *curl .*\n/gm) ?? []).length < 3) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the shop ended before it was open: ${text}`);
    text += value;
  }
  await reader.cancel();
  return text;
}

Deno.test("start: the banner's curl lines answer as written, a second start on the port is refused", async () => {
  const server = command("0").spawn();
  const errors = server.stderr.cancel();
  try {
    const text = await banner(server.stdout);
    const lines = [...text.matchAll(/^ *(curl .*)$/gm)].map(([, line]) => line!);
    assertStrictEquals(lines.length, 3);
    for (const line of lines) {
      const { code, stdout } = await new Deno.Command("sh", {
        args: ["-c", `${line} --silent --show-error --output /dev/null --write-out '%{http_code}'`],
      }).output();
      assertStrictEquals(code, 0, line);
      // -i writes the head to --output as well: only the status is left.
      assertMatch(new TextDecoder().decode(stdout).slice(-3), /^2\d\d$/, line);
    }
    const port = /http:\/\/localhost:(\d+)/.exec(text)![1]!;
    await refused(port, /^Port \d+ is in use/);
  } finally {
    server.kill("SIGTERM");
    const { code } = await server.status;
    await errors;
    assertStrictEquals(code, 0, "SIGTERM must end it gracefully");
  }
});

Deno.test("start: an invalid PORT is refused", async () => {
  for (const port of ["http", "-1", "65536", "80.5"]) await refused(port, /^PORT must be/);
});

Deno.test("start: an unknown store and an incomplete address are refused", async () => {
  await refused("0", /^--store must be deno-kv, memory or upstash/, "--store=paper");
  await refused("0", /^--store=upstash needs a token and a url/, "--store=upstash", "--token=secret");
  await refused("0", /--stroe/, "--stroe=memory");
});

Deno.test("start: --store=upstash without an address starts an endpoint of its own, and ends it", async () => {
  await using _installed = await startRedis(); // installs redis-server where it is missing
  const server = command("0", "--store=upstash").spawn();
  const errors = new Response(server.stderr).text();
  try {
    const text = await banner(server.stdout);
    assertMatch(text, /its state lives in upstash/);
    const url = /http:\/\/localhost:\d+/.exec(text)![0];
    assertEquals((await (await fetch(`${url}/api/products`)).json()).length, 3);
  } finally {
    server.kill("SIGTERM");
    assertEquals([(await server.status).code, await errors], [0, ""]);
  }
});

for (const task of ["start", "start:worker"]) {
  Deno.test(`${task}, stop, ${task}: the cart is still there`, async () => {
    const data = `--data=${await Deno.makeTempDir()}/not/yet/there`;
    let cookie = "";
    for (const cart of [["rope"], ["rope", "rope"]]) {
      const server = new Deno.Command(Deno.execPath(), {
        args: ["task", "--quiet", task, data],
        env: { PORT: "0", NO_COLOR: "1" },
        stdout: "piped",
        stderr: "null",
      }).spawn();
      try {
        const url = await address(server.stdout);
        const response = await fetch(`${url}/api/cart/rope`, { method: "POST", headers: { cookie } });
        cookie ||= response.headers.get("set-cookie")!.split(";")[0]!;
        assertEquals(await response.json(), { cart });
      } finally {
        server.kill("SIGTERM");
        await server.status;
      }
    }
  });
}

Deno.test("deno serve: the shop is served on the Deno KV of the place", async () => {
  const server = new Deno.Command(Deno.execPath(), {
    args: [
      "serve",
      "-A",
      "--port=0",
      "--host=127.0.0.1",
      new URL("../../examples/shop/serve.ts", import.meta.url).pathname,
    ],
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).spawn();
  try {
    const url = await address(server.stderr);
    const products = await (await fetch(`${url}/api/products`)).json();
    assertEquals(products.length, 3);
  } finally {
    server.kill("SIGTERM");
    await server.status;
  }
});

/** The shop does not start and says why in one line. */
async function refused(port: string, why: RegExp, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await command(port, ...args).output();
  const message = new TextDecoder().decode(stderr);
  assertEquals([code, stdout.length], [1, 0]);
  assert(message.trimEnd().split("\n").length === 1, `more than one line: ${message}`);
  assertMatch(message, why);
}

/** The address that a server prints. */
async function address(output: ReadableStream<Uint8Array>): Promise<string> {
  const reader = output.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    text += value ?? "";
    const url = /http:\/\/(localhost|127\.0\.0\.1|0\.0\.0\.0):\d+/.exec(text)?.[0];
    if (url !== undefined || done) {
      await reader.cancel();
      if (url === undefined) throw new Error(`the server ended before it listened: ${text}`);
      return url;
    }
  }
}
