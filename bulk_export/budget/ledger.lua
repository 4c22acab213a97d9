-- The ledger on a Redis server: one atomic step of one process (see interface.py for what the steps mean).
--
-- KEYS: the secret of the store, then of the account: its state, requests by end, those that got through, the queue
-- by ticket, and who waits in it. The requests from one source address are in a set of their own, whose name
-- begins with `prefix`. All names share a hash tag, so they live on one node of a cluster.
-- ARGV[1]: the step in JSON. Times are whole microseconds on a clock of the account that starts at 0: it goes on by
-- the server's clock, but never back, and never further than the asking process knows time to have gone on.

local ask = cjson.decode(ARGV[1])
local secret, state, spent, through, queue, waiters = unpack(KEYS)
local TOLERANCE = 250000

if redis.call('GET', secret) ~= ask.secret then
  return '{"emptied":true}'
end

local function from(source)
  return ask.prefix .. source
end

local raw = ask.clock
if not raw then
  local time = redis.call('TIME')
  raw = time[1] * 1000000 + time[2]
end

local kept = redis.call('HMGET', state, 'raw', 'now', 'reach', 'longest', 'full_until', 'restraint', 'sources')
local exists = kept[1] and true or false
local now, last = 0, 0
if exists then
  last = tonumber(kept[2])
  now = last + math.max(0, raw - tonumber(kept[1]))
  if ask.seen and now > ask.seen + ask.elapsed + TOLERANCE then
    now = math.max(last, ask.seen + ask.elapsed)
  end
end
local reach = math.max(ask.reach, tonumber(kept[3] or 0))
local longest = math.max(ask.longest, tonumber(kept[4] or 0))
local full_until = tonumber(kept[5] or 0)
local restraint = kept[6] and cjson.decode(kept[6]) or { refusals = 0 }
local sources = cjson.decode(kept[7] or '{}')
local own = {}
-- What is left of an account without a state was counted on another clock.
if not exists then
  redis.call('DEL', spent, through, queue, waiters)
end
for _, source in ipairs(ask.sources) do
  if not sources[source] then
    redis.call('DEL', from(source))
  end
  sources[source], own[source] = true, true
end

local function forget_before(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - reach)
  return redis.call('ZCARD', key)
end

-- What is missing without having lapsed was removed from outside: then everything counts as used up.
local by_source = 0
for source in pairs(sources) do
  local requests = forget_before(from(source))
  by_source = by_source + requests
  if requests == 0 and not own[source] then
    sources[source] = nil
  end
end
local lost = (ask.known and not exists) or by_source ~= forget_before(spent)
forget_before(through)
if ask.suspect or lost then
  full_until = math.max(full_until, now + reach + longest)
end

local function taken(key, period)
  return redis.call('ZCOUNT', key, '(' .. (now - period), '+inf')
end

local function free_in(key, period, slots)
  if slots <= 0 then
    return 0
  end
  local found =
    redis.call('ZRANGEBYSCORE', key, '(' .. (now - period), '+inf', 'WITHSCORES', 'LIMIT', slots - 1, 1)
  return found[2] and math.max(0, tonumber(found[2]) + period - now) or reach
end

local function put(identity, source, over_at, answered)
  redis.call('ZADD', spent, over_at, identity)
  redis.call('ZADD', from(source), over_at, identity)
  sources[source] = true
  if answered then
    redis.call('ZADD', through, over_at, identity)
  end
end

local function grown()
  local since = restraint.refusals == 0 and math.max(0, now - restraint.since) or 0
  return restraint.ceiling + since * restraint.growth
end

local function limit_of(believed)
  if not restraint.ceiling then
    return believed
  end
  return math.max(1, math.min(believed, math.floor(grown() + 1e-9)))
end

local function next_growth(believed)
  local limit = limit_of(believed)
  if not restraint.ceiling or limit >= believed then
    return math.huge
  end
  return math.max(0, (limit + 1 - grown()) / restraint.growth)
end

local function shut_for()
  local shut = full_until - now
  if restraint.refusals > 0 then
    shut = math.max(shut, restraint.hold_until - now)
    if restraint.probe then
      shut = math.max(shut, restraint.probe_until - now)
    end
  end
  return math.max(0, shut)
end

local function leave_queue(claimant)
  redis.call('ZREM', queue, claimant)
  redis.call('HDEL', waiters, claimant)
end

local function ahead_of(claimant)
  local ahead = {}
  for _, other in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
    local entry = redis.call('HGET', waiters, other)
    local waiting = entry and cjson.decode(entry)
    if not waiting or waiting.lapses <= now then
      leave_queue(other)
    elseif other == claimant then
      return ahead
    else
      ahead[#ahead + 1] = waiting
    end
  end
  return ahead
end

local function next_source(limit, used, used_from, ahead)
  local taken_now, taken_from = 0, {}
  local function choice(who, most)
    if used + taken_now >= most then
      return nil
    end
    local best, least
    for _, source in ipairs(who.sources) do
      if not used_from[source] then
        used_from[source] = taken(from(source), ask.address_period)
      end
      local load = used_from[source] + (taken_from[source] or 0)
      if not least or load < least then
        best, least = source, load
      end
    end
    return least < who.address_limit and best or nil
  end
  for _, other in ipairs(ahead) do
    local source = choice(other, math.min(limit, other.service_limit))
    if source then
      taken_now = taken_now + 1
      taken_from[source] = (taken_from[source] or 0) + 1
    end
  end
  return choice(ask, limit)
end

local function rooms(shut)
  local used = taken(spent, ask.service_period)
  local shown = { { used, math.max(shut, free_in(spent, ask.service_period, used - ask.service_limit + 1)) } }
  for _, source in ipairs(ask.sources) do
    used = taken(from(source), ask.address_period)
    shown[#shown + 1] =
      { used, math.max(shut, free_in(from(source), ask.address_period, used - ask.address_limit + 1)) }
  end
  return shown
end

local steps = {}

function steps.claim()
  if redis.call('ZSCORE', spent, ask.identity) then
    -- The answer to an earlier asking got lost.
    for source in pairs(sources) do
      if redis.call('ZSCORE', from(source), ask.identity) then
        return { source = source, refusals = restraint.refusals, rooms = rooms(0) }
      end
    end
  end
  local probing = restraint.refusals > 0
  local limit = probing and ask.service_limit or limit_of(ask.service_limit)
  local used, used_from = taken(spent, ask.service_period), {}
  local ahead, shut = ahead_of(ask.claimant), shut_for()
  local source = next_source(limit, used, used_from, ahead)
  if shut > 0 or not source then
    local rivals = 0
    for _, other in ipairs(ahead) do
      rivals = rivals + (other.service_limit >= limit and 1 or 0)
    end
    local address = math.huge
    for _, one in ipairs(ask.sources) do
      local full = (used_from[one] or taken(from(one), ask.address_period)) - ask.address_limit + 1
      address = math.min(address, free_in(from(one), ask.address_period, full))
    end
    local wait = math.max(address, free_in(spent, ask.service_period, used - limit + 1 + rivals))
    wait = math.max(shut, math.min(wait, next_growth(ask.service_limit)), ask.shortest_poll)
    wait = math.floor(math.min(wait, ask.longest_poll)) + 1
    if not redis.call('ZSCORE', queue, ask.claimant) then
      redis.call('ZADD', queue, redis.call('HINCRBY', state, 'tickets', 1), ask.claimant)
    end
    redis.call('HSET', waiters, ask.claimant, cjson.encode({
      lapses = now + wait + ask.grace,
      service_limit = ask.service_limit,
      address_limit = ask.address_limit,
      sources = ask.sources,
    }))
    return { delay = wait, refusals = restraint.refusals, rooms = rooms(shut) }
  end
  put(ask.identity, source, now + ask.longest, false)
  leave_queue(ask.claimant)
  if probing then
    restraint.probe, restraint.probe_until = ask.identity, now + math.min(ask.longest, ask.service_period)
  elseif restraint.ceiling and grown() >= ask.service_limit then
    restraint = { refusals = 0 }
  end
  return { source = source, refusals = restraint.refusals, rooms = rooms(0) }
end

function steps.settle()
  if ask.sent then
    put(ask.identity, ask.source, now, ask.answered)
  else
    redis.call('ZREM', spent, ask.identity)
    for source in pairs(sources) do
      redis.call('ZREM', from(source), ask.identity)
    end
  end
  if restraint.probe == ask.identity then
    restraint.probe = nil
    if ask.answered then
      restraint.refusals, restraint.epoch, restraint.since = 0, ask.claimed_at, now
    elseif ask.sent then
      restraint.hold_until = now + ask.after_lost_probe
    end
  end
  return {}
end

function steps.renew()
  put(ask.identity, ask.source, now + ask.longest, false)
  return {}
end

local function pause(refusals)
  local function backoff(times)
    return ask.first_backoff * 2 ^ math.min(times - 1, 30) * (0.5 + ask.uniform / 2)
  end
  if ask.told then
    local patience = refusals > 2 and backoff(refusals - 2) or 0
    return math.min(math.max(ask.told, patience, ask.margin), ask.most_told) + ask.uniform * ask.margin
  end
  return math.min(ask.edge or ask.period, backoff(refusals), ask.period)
end

function steps.refuse()
  put(ask.identity, ask.source, now, false)
  if restraint.probe == ask.identity or not restraint.epoch or ask.claimed_at > restraint.epoch then
    local refusals = restraint.refusals + 1
    local ceiling = limit_of(ask.service_limit)
    if refusals == 1 then
      ceiling = math.max(1, math.min(ceiling, taken(through, ask.service_period)))
    end
    restraint = {
      hold_until = math.floor(now + pause(refusals)),
      refusals = refusals,
      epoch = now,
      ceiling = ceiling,
      since = now,
      growth = ask.service_limit / ask.growth_periods / ask.period,
    }
  end
  return { hold = math.max(0, restraint.hold_until - now) }
end

function steps.withdraw()
  leave_queue(ask.claimant)
  return {}
end

local reply = steps[ask.step]()
reply.now = now

redis.call('HSET', state, 'raw', raw, 'now', now, 'reach', reach, 'longest', longest, 'full_until', full_until)
redis.call('HSET', state, 'restraint', cjson.encode(restraint), 'sources', cjson.encode(sources))
redis.call('HSET', state, 'service', ask.service, 'token', ask.token, 'limits', ask.limits)
local held = restraint.refusals > 0 and math.max(0, restraint.hold_until - now) or 0
local lapse = math.floor((2 * (reach + longest) + held) / 1000) + 60000
for _, key in ipairs({ state, spent, through, queue, waiters }) do
  redis.call('PEXPIRE', key, lapse)
end
for source in pairs(sources) do
  redis.call('PEXPIRE', from(source), lapse)
end
redis.call('PEXPIRE', secret, math.max(lapse, ask.secret_lapse))
return cjson.encode(reply)
