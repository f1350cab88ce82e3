/** The clock of Redis, replaced in tests. */

/**
 * In front of a script: the first argument is the time, by which nothing expires by itself. What follows asks
 * this `redis`, and is the very text that runs otherwise.
 */
const VIRTUAL = `local clock, server = table.remove(ARGV, 1), redis
local redis = {pcall = server.pcall, call = function(name, ...)
  if name == 'TIME' then return {math.floor(clock / 1000) .. '', clock % 1000 * 1000 .. ''} end
  if name ~= 'PEXPIREAT' then return server.call(name, ...) end
end}
`;

/** The script under a virtual time. */
export const inVirtualTime = (lua: string): string => VIRTUAL + lua;
