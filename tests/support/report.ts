/** Prints a figure that a reader of the run should see. */
export function report(line: string): void {
  // deno-lint-ignore no-console
  console.log(line);
}
