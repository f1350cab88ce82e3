/**
 * The Lua twins of throttles; see `_lua.ts` for the rules. They run at every request, so what the short
 * paths share is text that stands where it is needed: in Lua a function or a table costs more than the
 * arithmetic that it would hold.
 *
 * The names are those of a policy and its counter in the TypeScript: `a` is the limit, `b` the window, `c`
 * the capacity; `since`, `used`, `earlier` are the counter, `back` the units of a GCRA counter that came
 * back since then.
 */
import type { LuaTwin } from "./_lua.ts";

const CLOCK_SKEW = "1000";
const DEADLINE_STEP = "10000";
const LONGEST_RECORD = String(2 * 730 * 86_400_000);
/** The largest integer up to which every integer is exact as a double. */
const EXACT = String(2 ** 53);

/** `factor * by / divisor` as an integer. The short paths give up before such a product could be inexact. */
const down = (short: boolean, factor: string, by: string, divisor: string): string =>
  short ? `floor((${factor}) * ${by} / ${divisor})` : `down(${factor}, ${by}, ${divisor})`;
const up = (short: boolean, factor: string, by: string, divisor: string): string =>
  short ? `ceil((${factor}) * ${by} / ${divisor})` : `up(${factor}, ${by}, ${divisor})`;

/** `scale` of the TypeScript: exact although the product may pass 2^53. */
const SCALE = `
local function scale(factor, by, divisor, round)
  local product = factor * by
  if product < ${EXACT} then return round(product / divisor) end
  local high = math.floor(factor / 65536)
  local whole = math.floor(high * by / divisor)
  local rest = (high * by - whole * divisor) * 65536 + (factor - high * 65536) * by
  return whole * 65536 + round(rest / divisor)
end
local function down(factor, by, divisor) return scale(factor, by, divisor, math.floor) end
local function up(factor, by, divisor) return scale(factor, by, divisor, math.ceil) end
`;

/** Whether a text is 1 to 15 digits. */
const WHOLE = `
local function whole(v) return v and #v <= 15 and string.find(v, '^%d+$') end
`;

/** Of a policy's `line` in the input: its kind, its numbers and the field of its counter. */
const RULE = `
local kind, b, a, rest = match(line, '^(%a+):(%d+):(%d+):(.*)$')
local field, c = line, a
if kind == 'gcra' then c = match(rest, '^%d+') else field = kind .. ':' .. b .. ':' .. rest end
a, b, c = tonumber(a), tonumber(b), tonumber(c)
`;

/** The numbers of a counter's `state`; `s1` is nil if it is unreadable. */
const PARSE = `
local s1, s2, s3 = match(state, kind == 'sliding' and '^(%d+):(%d+):(%d+)$' or '^(%d+):(%d+)$')
if s1 and (#s1 > 15 or #s2 > 15 or (s3 and #s3 > 15)) then s1 = nil end
`;

/** `gcraAt`: the counter at `now`, with what came back. */
const gcra = (short: boolean): string => `
local windows = floor((now - since) / b)
since, used = since + windows * b, used - windows * a
back = ${down(short, "now - since", "a", "b")}
if used <= back then since, used, back = now, 0, 0
elseif used - back > c then
  ${
  short ? "hard = true" : `if up(used - c, b, a) - (now - since) > ${CLOCK_SKEW} then
    since, used, back, cut = now, c, 0, true
  end`
}
end
`;

/**
 * Reads the counter in `state`, brings it to `now`, and makes `retry`, the time to wait for the cost.
 * `hard` says that a short path must leave this to `apply`; `unreadable` that the state is no counter;
 * `cut` that it was too far ahead.
 */
const weigh = (short: boolean): string => `
local since, used, earlier, back, cut, retry = 0, 0, 0, 0, false, 0
if state then
  ${PARSE}
  if s1 then since, used, earlier = tonumber(s1), tonumber(s2), tonumber(s3 or 0)
  else ${short ? "hard" : "unreadable"} = true end
end
if kind == 'gcra' then
  ${gcra(short)}
  local missing = used + cost - c
  if cost > c then retry = -1
  elseif cost > 0 and missing > 0 then
    retry = ${up(short, "missing", "b", "a")} - (now - since)
    if retry < 0 then retry = 0 end
  end
else
  local start = floor(now / b) * b
  if since > now + ${CLOCK_SKEW} then ${short ? "hard = true" : "since, cut = start, true"}
  elseif since < start then
    earlier = since == start - b and used or 0
    since, used = start, 0
  end
  -- slidingUntil: milliseconds until so many units or fewer are in use.
  till = till or kind == 'sliding' and function(a, b, used, earlier, elapsed, room)
    if used > a then used = a end
    if earlier > a then earlier = a end
    if room >= used then
      local at = 0
      if earlier ~= 0 then at = b - ${down(short, "room - used", "b", "earlier")} end
      if at <= elapsed or at <= 0 then return 0 end
      return at - elapsed
    end
    return b - elapsed + math.max(0, b - ${down(short, "room", "b", "used")})
  end
  if cost > a then retry = -1
  elseif cost > 0 and kind == 'sliding' then retry = till(a, b, used, earlier, now - since, a - cost)
  elseif cost > 0 and cost > a - used then retry = since + b - now end
end
`;

/** Takes the cost from the counter that `weigh` made. */
const TAKE = `
used = used + cost
if kind == 'gcra' then if used <= back then since, used, back = now, 0, 0 end
elseif used < 0 then used = 0 end
`;

/** What is left, when all is back and when one unit more is. */
const view = (short: boolean): string => `
local remaining, reset, more = a - used, 0, 0
if kind == 'gcra' then
  remaining = c - used + back
  if remaining < 0 then remaining = 0 end
  if used > 0 then
    reset = ${up(short, "used", "b", "a")} - (now - since)
    if reset < 0 then reset = 0 end
  end
  local missing = used + remaining + 1 - c
  if remaining < c and missing > 0 then
    more = ${up(short, "missing", "b", "a")} - (now - since)
    if more < 0 then more = 0 end
  end
elseif kind == 'fixed' then
  if remaining < 0 then remaining = 0 end
  if used > 0 then reset = since + b - now end
  more = reset
else
  local weight, passed = earlier, now - since
  if weight > a then weight = a end
  if passed < 0 then passed = 0 end
  remaining = remaining - ${up(short, "weight", "(b - passed)", "b")}
  if remaining < 0 then remaining = 0 end
  reset = till(a, b, used, earlier, now - since, 0)
  if remaining < a then more = till(a, b, used, earlier, now - since, a - remaining - 1) end
end
`;

const TEXT = `string.format(kind == 'sliding' and '%d:%d:%d' or '%d:%d', since, used, earlier)`;

/** How long what the policy counts may last. */
const horizon = (short: boolean): string =>
  `(kind == 'gcra' and ${up(short, "c", "b", "a")} or kind == 'sliding' and 2 * b or b)`;

/**
 * Leaves to `apply` what is not simple: the key is blocked, over or no throttle's, or this call was counted
 * already.
 */
const FRESH = `
if found[3] then break end
if found[1] then if not x or now >= x or not found[4] or string.find(calls, id, 1, true) then break end
elseif redis.call('EXISTS', key) == 1 then break end
`;

/**
 * Adds the call's id to those that were counted, and makes `over`, the record's end, which most calls leave
 * as it is. When it moves, counters of other policies that are over are dropped: `apply` does that.
 */
const note = (own: string): string => `
calls = string.sub(id .. ',' .. calls, 1, 64)
local over = now + lasts
if x >= over and x <= now + longest + ${DEADLINE_STEP} then over = x
else
  if found[1] and redis.call('HLEN', key) ~= 2 + ${own} + (found[2] and 1 or 0) then break end
  over = ceil(over / ${DEADLINE_STEP}) * ${DEADLINE_STEP}
end
`;

/** The key goes when all is over. */
const MOVE = `
if over ~= x and not virtual then redis.call('PEXPIREAT', key, int(over)) end
`;

/**
 * Decides all `rules` on their `states`. Makes `figures`: whether it is allowed, and four numbers a policy.
 */
const decide = (short: boolean): string => `
local lasts, longest, anyCut = ${DEADLINE_STEP}, ${DEADLINE_STEP}, false
for n, p in ipairs(rules) do
  local kind, a, b, c, state = p.kind, p.a, p.b, p.c, states[n]
  ${weigh(short)}
  if retry ~= 0 then fits = false end
  if cut then anyCut = true end
  p.since, p.used, p.earlier, p.back, p.cut, p.retry = since, used, earlier, back, cut, retry
end
local takes, figures = fits and cost ~= 0 and not again, {(fits or again) and 1 or 0}
for n, p in ipairs(${short ? "hard" : "unreadable"} and {} or rules) do
  local kind, a, b, c = p.kind, p.a, p.b, p.c
  local since, used, earlier, back = p.since, p.used, p.earlier, p.back
  if takes then ${TAKE} end
  ${view(short)}
  p.text, lasts, longest = ${TEXT}, math.max(lasts, reset), math.max(longest, ${horizon(short)})
  local at = 4 * n - 2
  figures[at], figures[at + 1], figures[at + 2] = remaining, reset, more
  figures[at + 3] = again and 0 or p.retry
end
`;

/** Any policies on any record. */
const LOOK = WHOLE + SCALE + `
local function foreign(field, state, now)
  local floor, match = math.floor, string.match
  local kind, w, l, n = match(field, '^([^:]*):([^:]*):?([^:]*):?([^:]*)')
  local calendar = kind == 'fixed' or kind == 'sliding'
  if not (calendar or kind == 'gcra') or not whole(w) then return 0 end
  if not calendar and not (whole(l) and whole(n)) then return 0 end
  local b, a, c = tonumber(w), calendar and 1 or tonumber(l), calendar and 1 or tonumber(n)
  ${PARSE}
  if a == 0 or b == 0 or not s1 then return 0 end
  local since, used, back, cut = tonumber(s1), tonumber(s2), 0, false
  local longest = ${horizon(false)}
  if longest > ${LONGEST_RECORD} then return 0 end
  local ends = since + longest
  if kind == 'gcra' then
    ${gcra(false)}
    ends = used == 0 and 0 or since + up(used, b, a)
  end
  return ends <= now and 0 or math.min(ends, now + longest + ${CLOCK_SKEW})
end
local function withEnd(nxt, own, ends, longest, now)
  local before = whole(nxt.recordEnds) and tonumber(nxt.recordEnds) or -1
  if before >= ends and before <= now + longest + ${DEADLINE_STEP} then return before end
  local last, over = ends, {}
  for field, text in pairs(nxt) do
    if field ~= 'recentCalls' and field ~= 'recordEnds' and not own[field] then
      local its = field == 'blockedUntil' and tonumber(text) or foreign(field, text, now)
      if its == 0 then over[#over + 1] = field end
      last = math.max(last, its)
    end
  end
  for _, field in ipairs(over) do nxt[field] = nil end
  return math.ceil(last / ${DEADLINE_STEP}) * ${DEADLINE_STEP}
end
local function look(r, i, now, cost)
  local floor, ceil, match, till = math.floor, math.ceil, string.match, nil
  if r and not (whole(r.recordEnds) and whole(r.blockedUntil or '0')) then return {error='corrupt'} end
  local blocked = math.max(0, tonumber(r and r.blockedUntil or 0) - now)
  local id, calls = i.call, r and r.recentCalls or ''
  local again = id and string.find(',' .. calls, ',' .. id .. ',', 1, true)
  local rules, states, fits, unreadable = {}, {}, cost < 0 or blocked == 0, false
  while i['policy' .. #rules] do
    local line = i['policy' .. #rules]
    ${RULE}
    rules[#rules + 1] = {kind = kind, a = a, b = b, c = c, field = field}
    states[#rules] = r and r[field]
  end
  ${decide(false)}
  if unreadable then return {error='corrupt'} end
  local out, nxt, own = {allowed=int(figures[1])}, r or {}, {}
  for n = 1, #rules do
    out['policy' .. (n - 1)] = string.format('%d:%d:%d:%d', unpack(figures, 4 * n - 2, 4 * n + 1))
  end
  if blocked > 0 then out.blockedFor = int(blocked) end
  if not takes and not (anyCut and cost > 0 and not again) then return out end
  for _, p in ipairs(rules) do
    if takes or p.cut then nxt[p.field] = p.text end
    own[p.field] = true
  end
  if blocked == 0 then nxt.blockedUntil = nil end
  if takes and id then nxt.recentCalls = string.sub(id .. ',' .. calls, 1, 64) end
  local over = withEnd(nxt, own, now + lasts, longest, now)
  nxt.recordEnds = int(over)
  return out, nxt, over
end
`;

/** By the name of the transition. */
export const throttleTwins: Readonly<Record<string, LuaTwin>> = {
  "throttle.check": {
    kind: "write",
    fields: ["cost", "call", "policy0"],
    // No block, nothing stale: only the fields of these policies are read, and only those that change are
    // written.
    fast: `
local cost, id, line, key = tonumber(ARGV[1]), ARGV[2], ARGV[3], KEYS[1]
if id == '' or not line then break end
local floor, ceil, match, till, hard = math.floor, math.ceil, string.match, nil, false
if not ARGV[4] then
  ${RULE}
  local found = redis.call('HMGET', key, 'recordEnds', 'recentCalls', 'blockedUntil', field)
  local x, calls, state = tonumber(found[1] or 0), found[2] or '', found[4]
  if (a + c) * b >= ${EXACT} then break end
  ${FRESH}
  ${weigh(true)}
  if hard then break end
  local takes = retry == 0 and cost ~= 0
  if takes then ${TAKE} end
  ${view(true)}
  if takes then
    local lasts, longest = math.max(reset, ${DEADLINE_STEP}), math.max(${horizon(true)}, ${DEADLINE_STEP})
    ${note("1")}
    local text = ${TEXT}
    if over == x then redis.call('HSET', key, 'recentCalls', calls, field, text)
    else redis.call('HSET', key, 'recentCalls', calls, field, text, 'recordEnds', int(over), '@', int(over)) end
    ${MOVE}
  end
  return {retry == 0 and 1 or 0, remaining, reset, more, retry}
end
local rules, names, again, fits = {}, {'recordEnds', 'recentCalls', 'blockedUntil'}, false, true
for n = 3, #ARGV, 2 do
  local line = ARGV[n]
  ${RULE}
  if (a + c) * b >= ${EXACT} then hard = true end
  rules[#rules + 1] = {kind = kind, a = a, b = b, c = c, field = field}
  names[#names + 1] = field
end
if hard then break end
local found = redis.call('HMGET', key, unpack(names))
local x, calls, states = tonumber(found[1] or 0), found[2] or '', {unpack(found, 4)}
${FRESH}
${decide(true)}
if hard then break end
if takes then
  local known = 0
  for n = 1, #rules do if states[n] then known = known + 1 end end
  ${note("known")}
  local set = {'recentCalls', calls}
  for _, p in ipairs(rules) do set[#set + 1], set[#set + 2] = p.field, p.text end
  if over ~= x then
    set[#set + 1], set[#set + 2], set[#set + 3], set[#set + 4] = 'recordEnds', int(over), '@', int(over)
  end
  redis.call('HSET', key, unpack(set))
  ${MOVE}
end
return figures`,
    output([allowed, ...figures]) {
      if (figures.length === 0 || figures.length % 4 !== 0) return undefined;
      const output: Record<string, string> = { allowed: String(allowed) };
      for (let n = 0; 4 * n < figures.length; n++) {
        output[`policy${n}`] = figures.slice(4 * n, 4 * n + 4).join(":");
      }
      return output;
    },
    lua: LOOK + `
local function apply(r, i, now) return look(r, i, now, tonumber(i.cost)) end`,
  },
  "throttle.peek": {
    kind: "read",
    lua: LOOK + `
local function apply(r, i, now) return look(r, i, now, 0) end`,
  },
  "throttle.block": {
    kind: "write",
    lua: WHOLE + `
local function apply(r, i, now)
  if r and not (whole(r.recordEnds) and whole(r.blockedUntil or '0')) then return {error='corrupt'} end
  local calls = r and r.recentCalls or ''
  if i.call and string.find(',' .. calls, ',' .. i.call .. ',', 1, true) then return {} end
  local blocked = now + tonumber(i.duration)
  local before = r and math.min(tonumber(r.recordEnds), now + ${LONGEST_RECORD}) or 0
  local over = math.max(blocked, before, now + ${DEADLINE_STEP})
  r = r or {}
  r.blockedUntil, r.recordEnds = int(blocked), int(over)
  if i.call then r.recentCalls = string.sub(i.call .. ',' .. calls, 1, 64) end
  return {}, r, over
end`,
  },
};
