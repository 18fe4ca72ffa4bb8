-- Compare-and-set of packed feature rows: the newer event time wins, at equal ones the later created, at equal both a fixed order of the contents.
-- KEYS: one a row. ARGV[1]: milliseconds a row outlives its event time, or the moment it is written if that is later (0 = for ever). ARGV[2..]: the packed rows. Returns how many were taken.
local taken = 0
local keep = tonumber(ARGV[1])
local now = 0
if keep > 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
for i, key in ipairs(KEYS) do
  local new = ARGV[i + 1]
  local old = redis.call('GETRANGE', key, 0, 31) -- the header decides but for ties
  local wins = true
  local event, created = struct.unpack('<i8i8', new, 17)
  if #old == 32 and string.sub(old, 1, 4) == 'ISP1' then
    local old_event, old_created = struct.unpack('<i8i8', old, 17)
    if event ~= old_event then
      wins = event > old_event
    elseif created ~= old_created then
      wins = created > old_created
    elseif string.sub(new, 9, 16) ~= string.sub(old, 9, 16) then
      wins = true -- the same row written again under a changed definition
    else
      local new_deleted, old_deleted = string.byte(new, 5), string.byte(old, 5)
      if new_deleted ~= old_deleted then
        wins = new_deleted > old_deleted
      else
        wins = redis.sha1hex(new) > redis.sha1hex(redis.call('GET', key))
      end
    end
  end
  if wins then
    redis.call('SET', key, new)
    if keep > 0 then
      redis.call('PEXPIREAT', key, string.format('%.0f', math.max(math.floor(event / 1000), now) + keep))
    end
    taken = taken + 1
  end
end
return taken
