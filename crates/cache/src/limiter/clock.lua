-- Redis' own clock: the same for every gateway.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
