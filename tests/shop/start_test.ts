/** `deno task start`: its banner's curl lines answer as written, and what it cannot do it says in one line. */
import { assert, assertEquals, assertMatch, assertStrictEquals } from "../support/assert.ts";

const main = new URL("../../examples/shop/main.ts", import.meta.url);

function command(port: string): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-net", "--allow-read", "--allow-env=PORT", main.pathname],
    env: { PORT: port, NO_COLOR: "1" },
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

Deno.test("start: a PORT that is none is refused", async () => {
  for (const port of ["http", "-1", "65536", "80.5"]) await refused(port, /^PORT must be/);
});

/** The shop does not start and says why in one line. */
async function refused(port: string, why: RegExp): Promise<void> {
  const { code, stdout, stderr } = await command(port).output();
  const message = new TextDecoder().decode(stderr);
  assertEquals([code, stdout.length], [1, 0]);
  assert(message.trimEnd().split("\n").length === 1, `more than one line: ${message}`);
  assertMatch(message, why);
}
