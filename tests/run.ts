/**
 * Every test and every example: `deno task test`. Databases whose servers do most of the work run in a second process beside
 * the rest; what it prints follows when both are done.
 */
const BESIDE = ["tests/mongodb", "tests/postgres", "tests/sqlite"];

/** What has a command of its own, or is no test. */
const APART = [
  "tests/browser",
  "tests/guarantees",
  "tests/packages/fresh",
  "tests/types",
  "examples/next-edge",
  ".cache",
];

function tests(args: readonly string[], output: "inherit" | "piped"): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", ...args],
    stdin: "null",
    stdout: output,
    stderr: output,
  });
}

const beside = tests(BESIDE, "piped").output();
const rest = await tests(["--doc", `--ignore=${[...APART, ...BESIDE].join()}`], "inherit").spawn().status;
const { code, stdout, stderr } = await beside;
for (const text of [stderr, stdout]) {
  await new Blob([text]).stream().pipeTo(Deno.stdout.writable, { preventClose: true });
}
Deno.exit(rest.code || code);
