-- Leaky buckets (GCRA), decided together. `now` is the time in microseconds; the lines before this file define it.
--
-- KEYS[i] is a bucket, stored as 'LEVEL TIME'. ARGV[1] is 'charge': all amounts are taken, or none; or 'settle': they are
-- taken whatever the levels are, and may be negative. Then follow, for each bucket: amount, leak per microsecond, brim.
-- The answer: 1 or 0 for taken or not, then the level of each bucket afterwards.
--
-- Every number is an integer. Levels and amounts keep to 2^52, so that sums are exact in Lua's doubles; a product of leak
-- and time that is not exact any more is larger than any level, and the bucket is empty then.
local MAX_LEVEL = 4503599627370496

local stored = redis.call('MGET', unpack(KEYS))
local buckets = {}
local taken = 1
for i = 1, #KEYS do
  local bucket = { amount = tonumber(ARGV[3 * i - 1]), leak = tonumber(ARGV[3 * i]), level = 0, changed = false }
  local level, at = string.match(stored[i] or '', '^(%d+) (%d+)$')
  if level then
    local elapsed = now - tonumber(at)
    -- A clock that was set back lets nothing flow off; the bucket goes on from the new time, or it would stay full until
    -- the old time comes again.
    bucket.changed = elapsed < 0
    bucket.level = math.max(0, tonumber(level) - bucket.leak * math.max(0, elapsed))
  end
  if ARGV[1] == 'charge' and bucket.level + bucket.amount > tonumber(ARGV[3 * i + 1]) then
    taken = 0
  end
  buckets[i] = bucket
end

local answer = { taken }
for i, bucket in ipairs(buckets) do
  if taken == 1 then
    bucket.level = math.min(MAX_LEVEL, math.max(0, bucket.level + bucket.amount))
    bucket.changed = true
  end
  if bucket.changed and bucket.level == 0 then
    redis.call('DEL', KEYS[i])
  elseif bucket.changed then
    -- An empty bucket is as good as none. One millisecond more than it needs, so that no rounding cuts it short.
    local life = math.ceil(bucket.level / bucket.leak / 1000) + 1
    redis.call('SET', KEYS[i], string.format('%.0f %.0f', bucket.level, now), 'PX', string.format('%.0f', life))
  end
  answer[i + 1] = bucket.level
end
return answer
