/**
 * The Lua twins of idempotency; see `_lua.ts` for the rules and `idempotency_transitions.ts` for the record's
 * fields.
 */
import { type LuaTwin, WHOLE } from "./_lua.ts";

const HELPERS = WHOLE + `
local function sound(r)
  if not (r.owner and r.claim and whole(r.retentionEnds)) then return false end
  if r.state == 'abandoned' then return true end
  return r.fingerprint and whole(r.attempt) and
    (r.state == 'done' or (r.state == 'pending' and whole(r.leaseEnds)))
end
local function keep(r, out) return out, r, tonumber(r.retentionEnds) end
`;

/** By the name of the transition. */
export const idempotencyTwins: Readonly<Record<string, LuaTwin>> = {
  "idempotency.begin": {
    kind: "write",
    fields: ["owner", "claim", "lease", "retention", "fingerprint"],
    // The key is free.
    fast: `
local key = KEYS[1]
if redis.call('EXISTS', key) == 1 then break end
local leaseEnds = now + tonumber(ARGV[3])
local ends = int(math.max(now + tonumber(ARGV[4]), leaseEnds))
redis.call('HSET', key, 'state', 'pending', 'owner', ARGV[1], 'claim', ARGV[2], 'fingerprint', ARGV[5] or '',
  'leaseEnds', int(leaseEnds), 'attempt', '1', 'retentionEnds', ends, '@', ends)
if not virtual then redis.call('PEXPIREAT', key, ends) end
return 1`,
    output: ([attempt]) => ({ state: "new", attempt: String(attempt) }),
    lua: HELPERS + `
local function apply(r, i, now)
  if r and not sound(r) then return {state='corrupt'} end
  local attempt, fingerprint, ends = 1, i.fingerprint or '', now + tonumber(i.retention)
  local claim, held = i.claim, 0
  if r and r.state == 'abandoned' then
    if r.owner == i.owner and r.claim == claim then return {state='abandoned'} end
  elseif r then
    if r.fingerprint ~= fingerprint then return {state='mismatch'} end
    if r.state == 'done' then return {state='done', attempt=r.attempt, response=r.response} end
    local leaseEnds = tonumber(r.leaseEnds)
    if r.owner ~= i.owner and now < leaseEnds then return {state='busy', remain=int(leaseEnds - now)} end
    attempt = tonumber(r.attempt) + (r.owner == i.owner and 0 or 1)
    if r.owner == i.owner then held = leaseEnds end
    if r.owner == i.owner and r.claim > claim then claim = r.claim end
    ends = tonumber(r.retentionEnds)
  end
  local leaseEnds = math.max(held, now + tonumber(i.lease))
  return keep({state='pending', owner=i.owner, claim=claim, fingerprint=fingerprint, leaseEnds=int(leaseEnds),
    attempt=int(attempt), retentionEnds=int(math.max(ends, leaseEnds))},
    {state='new', attempt=int(attempt)})
end`,
  },
  "idempotency.complete": {
    kind: "write",
    fields: ["owner", "claim", "attempt", "retention", "fingerprint"],
    // The claimant completes its own pending record, which has the eight fields of one and nothing else.
    fast: `
local key, match = KEYS[1], string.match
if redis.call('HLEN', key) ~= 8 then break end
local found = redis.call('HMGET', key, 'state', 'owner', '@', 'leaseEnds', 'attempt', 'retentionEnds', 'fingerprint',
  'claim')
if found[1] ~= 'pending' or found[2] ~= ARGV[1] or not found[7] or not found[8] then break end
local sound = true
for n = 3, 6 do sound = sound and found[n] and #found[n] <= 16 and match(found[n], '^%d+$') end
if not sound or now >= tonumber(found[3]) then break end
local ends = int(now + tonumber(ARGV[4]))
redis.call('HSET', key, 'state', 'done', 'claim', ARGV[2], 'fingerprint', ARGV[5] or '', 'attempt', ARGV[3],
  'retentionEnds', ends, '@', ends, unpack(ARGV, 6))
redis.call('HDEL', key, 'leaseEnds')
if not virtual then redis.call('PEXPIREAT', key, ends) end
return 1`,
    output: () => ({ state: "stored" }),
    lua: HELPERS + `
local function apply(r, i, now)
  if r and not sound(r) then return {state='corrupt'} end
  if r and r.state ~= 'abandoned' then
    if r.owner ~= i.owner then
      if r.state == 'pending' then return {state='overtaken'} end
      return {state='superseded', response=r.response}
    end
    if r.state == 'done' then return {state='stored'} end
  end
  return keep({state='done', owner=i.owner, claim=i.claim, fingerprint=i.fingerprint or '', response=i.response,
    attempt=i.attempt, retentionEnds=int(now + tonumber(i.retention))}, {state='stored'})
end`,
  },
  "idempotency.abandon": {
    kind: "write",
    fields: ["owner", "claim"],
    lua: HELPERS + `
local function apply(r, i, now)
  if r then
    if not sound(r) then return {state='corrupt'} end
    local own = r.owner == i.owner and r.claim == i.claim
    if r.state == 'abandoned' and own then return {state='free'} end
    if r.state == 'done' or (r.state == 'pending' and not own) then return {state='lost'} end
  end
  return keep({state='abandoned', owner=i.owner, claim=i.claim, retentionEnds=int(now + 60000)}, {state='free'})
end`,
  },
  "idempotency.extend": {
    kind: "write",
    fields: ["owner", "lease"],
    lua: HELPERS + `
local function apply(r, i, now)
  if not r then return {state='lost'} end
  if not sound(r) then return {state='corrupt'} end
  if r.state ~= 'pending' or r.owner ~= i.owner then return {state='lost'} end
  local leaseEnds = now + tonumber(i.lease)
  return keep({state='pending', owner=r.owner, claim=r.claim, fingerprint=r.fingerprint, leaseEnds=int(leaseEnds),
    attempt=r.attempt, retentionEnds=int(math.max(tonumber(r.retentionEnds), leaseEnds))},
    {state='held'})
end`,
  },
  "idempotency.read": {
    kind: "read",
    lua: HELPERS + `
local function apply(r)
  if not r then return {} end
  if not sound(r) then return {state='corrupt'} end
  if r.state == 'abandoned' then return {} end
  if r.state == 'pending' then return {state='busy', attempt=r.attempt} end
  return {state='done', attempt=r.attempt, response=r.response}
end`,
  },
};
