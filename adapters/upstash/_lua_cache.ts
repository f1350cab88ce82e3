/**
 * The Lua of a cache, compiled from `src/cache/cache_transitions.ts`; do not edit. `step` is the compiled transition: it answers
 * the output and, where it writes, the next record. Fields that may be empty travel with their names: of the others an empty
 * one is a missing one.
 */
import type { LuaTwin } from "./_lua.ts";

const APPLY = `
local function apply(record, input, now)
  local done = step(record, input, now)
  if not done.write then return done.output end
  return done.output, done.write.record or false, done.write.expiresAt
end`;

/** By the name of the transition. */
export const cacheTwins: Readonly<Record<string, LuaTwin>> = {
  "cache.read": {
    kind: "write",
    fields: ["early", "filler", "lease", "refresh"],
    lua:
      'local function l(f)return tonumber(f)or 0/0 end local function tostring(f)if type(f)=="number"then return string.format("%.0f",f)end return f end local function d(i)return i==nil and 0 or l(i)end local function m(a,c)return(a.value~=nil or a.absent~=nil)and c<d(a["until"])end local function n(a)return{record=a,expiresAt=math.max(d(a["until"]),d(a.leaseEnds))}end local function o(a)local next={}for g in pairs(a)do if g~="filler"and g~="grant"and g~="leaseEnds"then next[g]=a[g]end end return next end local function p(next,b,h,c)next.filler=b.filler next.grant=h next.leaseEnds=tostring(c+d(b.lease))return n(next)end local step=function(a,b,c)local e={}local j=true local k=a==nil and 0 or d(a.freshUntil)-c if a~=nil and a.schema==b.schema and a.tags~=b.outdated and(k>0 or m(a,c))then e={tags=a.tags,filledAt=a.filledAt,freshUntil=a.freshUntil,staleUntil=a.staleUntil,["until"]=a["until"],now=tostring(c)}if a.value~=nil then e.value=a.value else e.absent="1"end local q=b.early==nil and 0 or math.floor(d(a.took)*d(b.early)/1000)j=k<=q or b.refresh~=nil and c-d(a.filledAt)>=d(b.refresh)end if not j or b.filler==nil then return{output=e}end if a~=nil and a.filler~=nil and a.filler~=b.filler and c<d(a.leaseEnds)then e.busy=tostring(d(a.leaseEnds)-c)e.holder=(a.filler.." ")..a.grant return{output=e}end local r=a~=nil and a.filler==b.filler local h=r and a.grant or tostring(c)local next=a==nil and({})or o(a)e.grant=h return{output=e,write=p(next,b,h,c)}end' +
      APPLY,
  },
  "cache.fill": {
    kind: "write",
    fields: ["filler", "grace", "grant", "stale", "took", "ttl"],
    lua:
      'local function h(d)return tonumber(d)or 0/0 end local function tostring(d)if type(d)=="number"then return string.format("%.0f",d)end return d end local function c(g)return g==nil and 0 or h(g)end local function i(b)return{record=b,expiresAt=math.max(c(b["until"]),c(b.leaseEnds))}end local function j(b,a)return b~=nil and b.filler==a.filler and b.grant==a.grant end local function k(a,l,e)local f=e+c(a.ttl)local next={filledAt=tostring(e),freshUntil=tostring(f),staleUntil=tostring(f+c(a.stale)),["until"]=tostring(f+math.max(c(a.stale),c(a.grace))),took=a.took,tags=a.tags,schema=a.schema,filledBy=l}if a.value~=nil then next.value=a.value else next.absent="1"end return next end local step=function(b,a,e)if not j(b,a)then return{output={done=b~=nil and b.filledBy==a.filler and"1"or"0"}}end return{output={done="1"},write=i(k(a,a.filler,e))}end' +
      APPLY,
  },
  "cache.extend": {
    kind: "write",
    fields: ["filler", "grant", "lease"],
    lua:
      'local function h(c)return tonumber(c)or 0/0 end local function tostring(c)if type(c)=="number"then return string.format("%.0f",c)end return c end local function e(g)return g==nil and 0 or h(g)end local function i(a)return{record=a,expiresAt=math.max(e(a["until"]),e(a.leaseEnds))}end local function j(a)local next={}for d in pairs(a)do if d~="filler"and d~="grant"and d~="leaseEnds"then next[d]=a[d]end end return next end local function k(a,b)return a~=nil and a.filler==b.filler and a.grant==b.grant end local function l(next,b,m,f)next.filler=b.filler next.grant=m next.leaseEnds=tostring(f+e(b.lease))return i(next)end local step=function(a,b,f)if not k(a,b)then return{output={done="0"}}end return{output={done="1"},write=l(j(a),b,b.grant,f)}end' +
      APPLY,
  },
  "cache.abandon": {
    kind: "write",
    fields: ["filler", "grant"],
    lua:
      'local function g(h)return tonumber(h)or 0/0 end local function d(f)return f==nil and 0 or g(f)end local function i(a,e)return(a.value~=nil or a.absent~=nil)and e<d(a["until"])end local function j(a)return{record=a,expiresAt=math.max(d(a["until"]),d(a.leaseEnds))}end local function k(a)local next={}for b in pairs(a)do if b~="filler"and b~="grant"and b~="leaseEnds"then next[b]=a[b]end end return next end local function l(a,c)return a~=nil and a.filler==c.filler and a.grant==c.grant end local step=function(a,c,e)if not l(a,c)then return{output={}}end local next=k(a)return{output={},write=i(next,e)and j(next)or({record=nil})}end' +
      APPLY,
  },
  "cache.put": {
    kind: "write",
    fields: ["grace", "id", "stale", "took", "ttl"],
    lua:
      'local function h(d)return tonumber(d)or 0/0 end local function tostring(d)if type(d)=="number"then return string.format("%.0f",d)end return d end local function b(g)return g==nil and 0 or h(g)end local function i(c)return{record=c,expiresAt=math.max(b(c["until"]),b(c.leaseEnds))}end local function j(a,k,e)local f=e+b(a.ttl)local next={filledAt=tostring(e),freshUntil=tostring(f),staleUntil=tostring(f+b(a.stale)),["until"]=tostring(f+math.max(b(a.stale),b(a.grace))),took=a.took,tags=a.tags,schema=a.schema,filledBy=k}if a.value~=nil then next.value=a.value else next.absent="1"end return next end local step=function(c,a,e)if c~=nil and c.filledBy==a.id then return{output={}}end return{output={},write=i(j(a,a.id,e))}end' +
      APPLY,
  },
  "cache.invalidate": {
    kind: "write",
    fields: [],
    lua: "local step=function()return{output={},write={record=nil}}end" + APPLY,
  },
  "cache.expire": {
    kind: "write",
    fields: [],
    lua:
      'local function g(b)return tonumber(b)or 0/0 end local function tostring(b)if type(b)=="number"then return string.format("%.0f",b)end return b end local function d(f)return f==nil and 0 or g(f)end local function h(a,e)return(a.value~=nil or a.absent~=nil)and e<d(a["until"])end local function i(a)return{record=a,expiresAt=math.max(d(a["until"]),d(a.leaseEnds))}end local function j(a)local next={}for c in pairs(a)do if c~="filler"and c~="grant"and c~="leaseEnds"then next[c]=a[c]end end return next end local step=function(a,k,e)if a==nil then return{output={done="0"}}end local next=j(a)if not h(next,e)then return{output={done="0"},write={record=nil}}end next.freshUntil=tostring(math.min(e,d(a.freshUntil)))return{output={done="1"},write=i(next)}end' +
      APPLY,
  },
  "cache.tag": {
    kind: "write",
    fields: ["id", "ttl"],
    lua:
      'local function k(b)return tonumber(b)or 0/0 end local function l(a,g)local c,d={},1 while true do local e=string.find(a,g,d,true)if not e then break end c[#c+1]=string.sub(a,d,e-1)d=e+#g end c[#c+1]=string.sub(a,d)return c end local function tostring(b)if type(b)=="number"then return string.format("%.0f",b)end return b end local function h(a)return a==nil and 0 or k(a)end local step=function(f,i,m)local n=(f==nil or f.v==nil)and 0 or h(l(f.v,":")[1])local j=m+h(i.ttl)local next={v=(tostring(n+1)..":")..i.id,e=tostring(j)}return{output={},write={record=next,expiresAt=j}}end' +
      APPLY,
  },
};
