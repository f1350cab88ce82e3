/**
 * The Lua that surrounds a transition. What decides is compiled from the TypeScript in `src/` (`generated/`); here is how
 * Redis reads the input and the record, calls it, writes the difference and answers.
 *
 * `apply(record, input, now)` answers a step as in TypeScript: `output` and perhaps `write`. A script may have a fast path
 * by hand: the usual case done at once, with its reply, or a `break` that leaves the decision to `apply`. Both must leave
 * the very same record; the differential test holds both to the TypeScript.
 *
 * Redis runs one script at a time, and every function that a script defines costs time at each call: fast paths are
 * straight code.
 */
import type { Fields } from "../../src/store/transition.ts";

/**
 * A transition in Lua.
 *
 * @category Stores
 */
export interface UpstashScript {
  /**
   * Whether the script may write. Clients send a request again after a broken connection, and so does a
   * runtime's own fetch; such a copy arrives at once, late, or after other calls, and must answer the same
   * and change nothing more. No writing transition does that at all three times by itself, so the engine
   * keeps the reply of each for a minute, under a key of its own, and answers copies with it.
   */
  readonly kind: "read" | "write";
  /** The fields of the input that travel without their names, in this order. */
  readonly fields: readonly string[];
  /** A chunk that defines `apply`. */
  readonly lua: string;
  /**
   * The usual case, written by hand: straight code inside a `repeat`. It returns its reply, or breaks before it has written
   * anything. It finds its input in `ARGV`, as `inputArgs` makes it; `format` is defined, and where it says
   * `READ_TIME`, `now` and `micro` from there on. Where the transition may write, it keeps its reply by `unlessDone` before
   * its first write.
   */
  readonly fast?: string;
}

/**
 * Compiled transitions, as the compiler writes them: what several have in common stands there once.
 *
 * @category Stores
 */
export interface UpstashScripts {
  /** Functions and constants in Lua, each after those that it uses. A script has those that it names. */
  readonly parts: readonly string[];
  /** By the name of the transition. */
  readonly scripts: Readonly<
    Record<string, {
      /**
       * What it does at most.
       * @default {"write"}
       */
      readonly kind?: "read" | undefined;
      /** The fields of the input that travel without their names, with spaces between. */
      readonly fields: string;
      /** What defines `apply`. */
      readonly lua: string;
      /** The usual case by hand. */
      readonly fast?: string;
    }>
  >;
}

const unpackedScripts = new WeakMap<UpstashScripts, ReadonlyMap<string, UpstashScript>>();

/** The scripts one by one, by the names of their transitions. */
export function unpacked(scripts: UpstashScripts): ReadonlyMap<string, UpstashScript> {
  let all = unpackedScripts.get(scripts);
  if (all === undefined) {
    const words = (text: string): string[] => text.match(/\w+/g) ?? [];
    const parts = scripts.parts.map((lua) => ({
      lua,
      name: /^local\s+(?:function )?(\w+)[=(]/.exec(lua)?.[1], // what defines several names is always taken
      words: words(lua),
    })).reverse();
    unpackedScripts.set(
      scripts,
      all = new Map(
        Object.entries(scripts.scripts).map(
          ([name, { kind, fields, lua, ...others }]): [string, UpstashScript] => {
            const used = new Set(words(lua));
            const needed = [lua];
            for (const part of parts) {
              if (part.name !== undefined && !used.has(part.name)) continue;
              needed.unshift(part.lua);
              for (const word of part.words) used.add(word);
            }
            return [name, {
              ...others,
              kind: kind ?? "write",
              fields: words(fields),
              lua: needed.join("\n"),
            }];
          },
        ),
      ),
    );
  }
  return all;
}

/** `now`, in milliseconds of the clock of Redis, and `micro`, the microseconds within it. */
const TIME = `
local t = redis.call('TIME')
local micro = t[2] % 1000
local now = t[1] * 1000 + (t[2] - micro) / 1000`;
const INT = `
local function int(n) return string.format('%d', n) end`;

/**
 * In tests, in front of a script: the first argument is the time, by which nothing expires by itself. What follows asks this
 * `redis`, and is the very text that runs otherwise.
 */
const VIRTUAL = `local clock, server = table.remove(ARGV, 1), redis
local redis = {pcall = server.pcall, call = function(name, ...)
  if name == 'TIME' then return {math.floor(clock / 1000) .. '', clock % 1000 * 1000 .. ''} end
  if name ~= 'PEXPIREAT' then return server.call(name, ...) end
end}
`;

/** A script under the clock of Redis, or under a virtual time. */
const timed = (lua: string, virtual: boolean): string => virtual ? VIRTUAL + lua : lua;

/**
 * Reads `record`; nil when there is none or it has expired. It is a hash, whose field `@` is its deadline,
 * `was`.
 */
const READ = `
local flat, record, was = redis.call('HGETALL', KEYS[1]), nil, nil
if flat[1] then
  record = {}
  for n = 1, #flat, 2 do record[flat[n]] = flat[n + 1] end
  was, record['@'] = record['@'], nil
  if was and now >= tonumber(was) then record = nil end
end
`;

/**
 * Makes `nxt` the record until `deadline`, if it `changes`; writes what differs from what was read. One command each, but for
 * a record with more fields than unpack takes. Redis keeps a key through the millisecond that it is told, so it is told the
 * one before: a value is read without a look at the clock.
 */
const WRITE = `
if changes and not nxt then redis.call('DEL', KEYS[1]) elseif changes then
  deadline = deadline and int(deadline)
  nxt['@'] = deadline
  local gone, set = {}, {}
  for n = 1, #flat, 2 do
    local name = flat[n]
    local value = nxt[name]
    if value == nil then gone[#gone + 1] = name elseif value == flat[n + 1] then nxt[name] = nil end
  end
  for name, value in pairs(nxt) do set[#set + 1] = name set[#set + 1] = value end
  for n = 1, #set, 2000 do redis.call('HSET', KEYS[1], unpack(set, n, math.min(n + 1999, #set))) end
  for n = 1, #gone, 2000 do redis.call('HDEL', KEYS[1], unpack(gone, n, math.min(n + 1999, #gone))) end
  if not deadline then if was then redis.call('PERSIST', KEYS[1]) end
  elseif was ~= deadline then redis.call('PEXPIREAT', KEYS[1], int(deadline - 1)) end
end
`;

/**
 * Answers `out` as one text. The tilde keeps clients that guess types from parsing it.
 */
const REPLY = `
return '~' .. cjson.encode(out)`;

/** `KEYS[2]`, where there is one, keeps the reply of a call whose copies may arrive later. */
const KNOWN = `
local memory = KEYS[2]
local known = memory and redis.call('GET', memory)
if known then return known end
`;

/** How long a reply is kept, in milliseconds: longer than any client goes on sending copies of a request. */
export const MEMORY = 60_000;

const REMEMBER = `
out = '~' .. cjson.encode(out)
if memory then redis.call('SET', memory, out, 'PX', ${MEMORY}) end
return out`;

/**
 * In a fast path, after what decides and before the first write: keeps the reply, or answers a copy of an earlier call with
 * the reply that was kept then. `memory` must be `KEYS[2]`.
 */
export function unlessDone(reply: string): string {
  return `if memory and not redis.call('SET', memory, ${reply}, 'NX', 'PX', '${MEMORY}') then
  return redis.call('GET', memory)
end`;
}

/**
 * An input as arguments: the values of the script's own fields, then the other fields as pairs. A missing field is an empty
 * text; what is empty, or begins with a zero character, has one more of those in front.
 */
export function inputArgs(input: Fields, fields: readonly string[]): string[] {
  const args = fields.map((name) => {
    const value = input[name];
    return value === undefined ? "" : value === "" || value.charCodeAt(0) === 0 ? "\0" + value : value;
  });
  let own = args.length;
  while (own > 0 && args[own - 1] === "") own--;
  for (const name in input) if (!fields.includes(name)) args.push(name, input[name]!);
  if (args.length === fields.length) args.length = own;
  return args;
}

/** The text of a script. `ARGV`: the result of `inputArgs`, behind the virtual time where there is one. */
export function luaScript({ kind, fields, lua, fast }: UpstashScript, virtual: boolean): string {
  const names = fields.map((name) => `'${name}'`);
  const reads = kind === "read";
  return timed(
    `${fast ? fastPart(fast) : ""}${TIME}${reads ? "" : INT + KNOWN}${READ}${lua}
local input, names, out = {}, {${names}}, {}
for n = 1, #names do
  local value = ARGV[n]
  if value and value ~= '' then
    if string.byte(value) == 0 then value = string.sub(value, 2) end
    input[names[n]] = value
  end
end
for n = #names + 1, #ARGV, 2 do input[ARGV[n]] = ARGV[n + 1] end
local step = apply(record, input, now)
for name, value in pairs(step.output) do out[#out + 1] = name out[#out + 1] = value end
${reads ? REPLY : CHANGE + WRITE + REMEMBER}`,
    virtual,
  );
}

const CHANGE = `
local write = step.write
local changes, nxt, deadline = write, write and write.record, write and write.expiresAt`;

const fastPart = (fast: string): string =>
  `local format = string.format
repeat
${fast.replaceAll("READ_TIME", TIME)}
until true`;

/** Answers the record's pairs as they are, and the clock: seconds, and the microseconds within them. */
export const load = (virtual: boolean): string =>
  timed(
    `local out, t = redis.call('HGETALL', KEYS[1]), redis.call('TIME')
out[#out + 1] = t[1]
out[#out + 1] = t[2]${REPLY}`,
    virtual,
  );

/**
 * Writes if the record is still the one that was loaded. `ARGV`: the length of the list of loaded pairs,
 * those pairs, the deadline or an empty text, then the pairs of the next record (none: delete).
 */
export const commit = (virtual: boolean): string =>
  timed(
    `${TIME}${INT}${KNOWN}${READ}
local count, left, same = tonumber(ARGV[1]), 0, true
for _ in pairs(record or {}) do left = left + 1 end
for n = 2, count + 1, 2 do
  same = same and record ~= nil and record[ARGV[n]] == ARGV[n + 1]
  left = left - 1
end
local out, changes, nxt, deadline = {'0'}, false, nil, nil
if same and left == 0 then
  out, changes, deadline = {'1'}, true, tonumber(ARGV[count + 2])
  for n = count + 3, #ARGV, 2 do nxt = nxt or {} nxt[ARGV[n]] = ARGV[n + 1] end
end
${WRITE}${REMEMBER}`,
    virtual,
  );

/** Answers the encoded values of many keys; `false` for a missing one. */
export const GET_MANY = `
local out = {}
for n, key in ipairs(KEYS) do
  out[n] = redis.call('HGET', key, 'v') or (redis.call('EXISTS', key) == 1 and '\\0')
end
${REPLY}`;

/**
 * Sets many keys. `KEYS`: the memory, then the keys. `ARGV`: milliseconds to live or empty, then a value per
 * key. A key of another program is an error at HLEN, before anything is written.
 */
export const setMany = (virtual: boolean): string =>
  timed(
    `${TIME}${INT}
local memory, there = table.remove(KEYS, 1), {}
for n, key in ipairs(KEYS) do there[n] = redis.call('HLEN', key) > 0 end
${unlessDone("'~[]'")}
local ttl = tonumber(ARGV[1])
local e = ttl and int(now + ttl)
for n, key in ipairs(KEYS) do
  if there[n] then redis.call('DEL', key) end
  redis.call('HSET', key, 'v', ARGV[n + 1], unpack(e and {'e', e, '@', e} or {}))
  if e then redis.call('PEXPIREAT', key, int(e - 1)) end
end
return '~[]'`,
    virtual,
  );

/** Deletes many keys and answers how many there were. `KEYS`: the memory, then the keys. */
export const DELETE_MANY = `
local memory = table.remove(KEYS, 1)
local known = redis.call('GET', memory)
if known then return known end
local out = {tostring(redis.call('UNLINK', unpack(KEYS)))}
${REMEMBER}`;

/**
 * Lists a page of keys. `KEYS[1]` routes the script to a node of a cluster, and shows the head that keys
 * really have: a client may put its own prefix in front of every key. `ARGV`: cursor, beginning of the keys,
 * how many, the length of what follows the head in `KEYS[1]`, and anything more where the server may be a
 * cluster. Answers the next cursor, the least slot of each master (empty without a cluster), and the keys
 * without the head.
 */
export const LIST = `
local head = string.sub(KEYS[1], 1, #KEYS[1] - tonumber(ARGV[4]))
local pattern = string.gsub(head .. ARGV[2], '[%*%?%[%]\\\\]', '\\\\%0') .. '*'
local page, least, slots, out = redis.call('SCAN', ARGV[1], 'MATCH', pattern, 'COUNT', ARGV[3]), {}, {}, nil
if ARGV[5] then
  local ranges = redis.pcall('CLUSTER', 'SLOTS')
  for _, range in ipairs(ranges.err and {} or ranges) do
    local id = range[3][3] or range[3][1] .. ':' .. range[3][2]
    least[id] = math.min(least[id] or range[1], range[1])
  end
  for _, slot in pairs(least) do slots[#slots + 1] = slot end
end
out = {page[1], table.concat(slots, ',')}
for _, key in ipairs(page[2]) do
  local own = string.sub(key, #head + 1)
  if string.sub(own, 1, 2) ~= '//' then out[#out + 1] = own end
end
${REPLY}`;
