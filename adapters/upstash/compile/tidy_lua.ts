/**
 * Rewrites what the compiler spells out at length: destructuring, optional chaining and named numbers. Works
 * on its lines, one statement each, before they are minified. Each rule looks for the exact shape that the
 * compiler writes, so another shape stays as it is, which is longer and as right.
 */

/** A field of a table, by a dot or in brackets. */
const FIELD = String.raw`(?:\.\w+|\["\w+"\])`;

/** `local ____a_0 = a` before `local b = ____a_0.b`: the copy of a name that a statement only reads. */
function withoutCopies(lua: string): string {
  return lua.replace(
    new RegExp(String.raw`^ *local (____\w+) = ([a-z]\w*)\n((?: *local \w+ = \1${FIELD}\n)+)`, "gm"),
    (whole, copy: string, name: string, reads: string) =>
      // A read into the very name would change what the next one reads.
      new RegExp(String.raw`local ${name} =`).test(reads) ? whole : reads.replaceAll(copy, name),
  );
}

/** `local b` and, after others of its kind, `b = a.b`: a parameter that was taken apart. */
function withoutEarlyLocals(lua: string): string {
  return lua.replace(
    new RegExp(
      String.raw`((?:^ +local \w+\n)+)((?:^ +\w+ = ____bindingPattern\d+${FIELD}\n` +
        String.raw`(?:^ +if (\w+) == nil then\n +\3 = .*\n +end\n)?)+)`,
      "gm",
    ),
    (whole, locals: string, reads: string) => {
      const names = Array.from(locals.matchAll(/local (\w+)/g), ([, name]) => name!);
      let left = reads;
      for (const name of names) {
        const first = new RegExp(String.raw`^( +)${name} = ____bindingPattern`, "m");
        if (!first.test(left)) return whole;
        left = left.replace(first, `$1local ${name} = ____bindingPattern`);
      }
      return left;
    },
  );
}

/** Reads of several fields of one table are one statement. */
function withJoinedReads(lua: string): string {
  return lua.replace(
    new RegExp(String.raw`^( *)local \w+ = (\w+)${FIELD}\n(?:\1local \w+ = \2${FIELD}\n)+`, "gm"),
    (whole, indent: string, table: string) => {
      const reads = Array.from(whole.matchAll(/local (\w+) = (.*)\n/g), ([, name, value]) => [name, value]);
      if (reads.some(([name]) => name === table)) return whole;
      const [names, values] = [0, 1].map((i) => reads.map((read) => read[i]).join(", "));
      return `${indent}local ${names} = ${values}\n`;
    },
  );
}

/** `a?.b`: an `if` becomes an `and`, since what has a field is neither nil nor false. */
function withAnd(lua: string): string {
  return lua.replace(
    new RegExp(
      String.raw`^( *)local (____\w+)\n\1if (\w+) == nil then\n\1    \2 = nil\n\1else\n` +
        String.raw`\1    \2 = (\3(?:${FIELD}|\[[^\n\]]+\]))\n\1end\n\1local (\w+) = \2\n`,
      "gm",
    ),
    (_, indent: string, _temporary, table: string, value: string, name: string) =>
      `${indent}local ${name} = ${table} and ${value}\n`,
  );
}

/** The statements with short forms; numbers that have a name stand where it stood. */
export function tidyLua(parts: readonly string[]): string[] {
  const numbers = new Map<string, string>();
  const others = parts.filter((part) => {
    const [, name, figure] = /^local ([A-Z][A-Z0-9_]*) = (\d+)\s*$/.exec(part) ?? [];
    if (name !== undefined) numbers.set(name, figure!);
    return name === undefined;
  });
  return others.map((part) => {
    const short = withAnd(withJoinedReads(withoutEarlyLocals(withoutCopies(part))));
    return short.replace(/"[^"\n]*"|[\w.]+/g, (word) => numbers.get(word) ?? word);
  });
}
