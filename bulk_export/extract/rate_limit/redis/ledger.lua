-- The ledger on a Redis server: one atomic step of one process (see interface.py for what the steps mean).
--
-- KEYS: the secret of the store and what is known of its server; of the service its clock; of the account its state,
-- requests by end, those that got through, the queue by ticket, and who waits in it. `prefix` begins the names of
-- accounts, `routes` those of the sets with the requests on one route to the service, whatever their token. All names
-- share a hash tag, so they live on one node of a cluster.
-- ARGV[1]: the step in JSON. Times are whole microseconds on a clock of the service that starts at 0: it goes on by
-- the server's clock, but never back, and never further than the asking process knows time to have gone on.

local ask = cjson.decode(ARGV[1])
local secret, server, clock, state, spent, through, queue, waiters = unpack(KEYS)
local TOLERANCE = 250000

if redis.call('GET', secret) ~= ask.secret then
  return '{"emptied":true}'
end

local function from(route)
  return ask.routes .. route
end

local raw = ask.clock
if not raw then
  local time = redis.call('TIME')
  raw = time[1] * 1000000 + time[2]
end

-- A server that was started again may have come back from an old snapshot, and one that took over from another may
-- not have got everything. `since` is when that was noticed: what was spent before is not known.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local known = redis.call('HMGET', server, 'run', 'since')
local since = tonumber(known[2] or 0)
local restarted = known[1] and known[1] ~= run
if restarted then
  since = raw
end

local kept = redis.call('HMGET', clock, 'raw', 'now', 'reach', 'longest', 'full_until', 'sources', 'accounts', 'run')
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
local longest = math.max(ask.longest + ask.late, tonumber(kept[4] or 0))
local full_until = tonumber(kept[5] or 0)
local sources = cjson.decode(kept[6] or '{}')
local accounts = cjson.decode(kept[7] or '{}')
local learnt = redis.call('HGET', state, 'restraint')
local restraint = exists and learnt and cjson.decode(learnt) or { refusals = 0 }
local own = {}
-- What is left of a service without a clock was counted on another one.
if not exists or not accounts[ask.account] then
  redis.call('DEL', spent, through, queue, waiters)
end
for _, route in ipairs(ask.sources) do
  if not sources[route] then
    redis.call('DEL', from(route))
  end
  sources[route], own[route] = true, true
end
accounts[ask.account] = true

local function forget_before(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - reach)
  return redis.call('ZCARD', key)
end

-- What is missing without having lapsed was removed from outside: then everything counts as used up.
local by_route, by_account = 0, 0
for route in pairs(sources) do
  local requests = forget_before(from(route))
  by_route = by_route + requests
  if requests == 0 and not own[route] then
    sources[route] = nil
  end
end
for account in pairs(accounts) do
  local requests = forget_before(ask.prefix .. account .. ':spent')
  by_account = by_account + requests
  if requests == 0 and redis.call('EXISTS', ask.prefix .. account .. ':state') == 0 and account ~= ask.account then
    accounts[account] = nil
  end
end
local went_back = exists and ask.seen and last < ask.seen
local lost = (ask.known and not (exists and learnt)) or by_route ~= by_account or went_back
forget_before(through)
if ask.suspect or lost then
  full_until = math.max(full_until, now + reach + longest)
elseif since > 0 and kept[8] ~= run then
  full_until = math.max(full_until, now + math.min(reach + longest, math.max(0, since + reach + longest - raw)))
end

local function taken(key, period)
  return redis.call('ZCOUNT', key, '(' .. (now - period), '+inf')
end

-- Until `slots` of those taken in the sets together are free.
local function free_in(keys, period, slots)
  if slots <= 0 then
    return 0
  end
  local ends = {}
  for _, key in ipairs(keys) do
    local first = #keys == 1 and slots - 1 or 0
    local found =
      redis.call('ZRANGEBYSCORE', key, '(' .. (now - period), '+inf', 'WITHSCORES', 'LIMIT', first, slots - first)
    for place = 2, #found, 2 do
      ends[#ends + 1] = tonumber(found[place])
    end
  end
  table.sort(ends)
  local last_end = #keys == 1 and ends[1] or ends[slots]
  return last_end and math.max(0, last_end + period - now) or reach
end

-- A route names the addresses that a request may have left from; the empty one may be any.
local function addresses(route)
  local found = {}
  for address in string.gmatch(route, '%S+') do
    found[#found + 1] = address
  end
  return #found > 0 and found or { '' }
end

local function leaves_from(route, address)
  return route == '' or address == '' or string.find(' ' .. route .. ' ', ' ' .. address .. ' ', 1, true) ~= nil
end

local function used_by_route()
  local used_from = {}
  for route in pairs(sources) do
    used_from[route] = taken(from(route), ask.address_period)
  end
  return used_from
end

-- How many slots of one address are used, and the sets that hold their requests.
local function used_of(address, used_from)
  local used, keys = 0, {}
  for route, count in pairs(used_from) do
    if leaves_from(route, address) then
      used, keys[#keys + 1] = used + count, from(route)
    end
  end
  return used, keys
end

local function load(route, used_from)
  local most = 0
  for _, address in ipairs(addresses(route)) do
    most = math.max(most, (used_of(address, used_from)))
  end
  return most
end

local function route_free_in(route, used_from)
  local wait = 0
  for _, address in ipairs(addresses(route)) do
    local used, keys = used_of(address, used_from)
    wait = math.max(wait, free_in(keys, ask.address_period, used - ask.address_limit + 1))
  end
  return wait
end

local function put(identity, route, over_at, answered)
  redis.call('ZADD', spent, over_at, identity)
  redis.call('ZADD', from(route), over_at, identity)
  sources[route] = true
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
  local taken_now, held = 0, {}
  for route, count in pairs(used_from) do
    held[route] = count
  end
  local function choice(who, most)
    if used + taken_now >= most then
      return nil
    end
    local best, least
    for place, route in ipairs(who.sources) do
      local full = load(route, held)
      if not least or full < least then
        best, least = place, full
      end
    end
    return least < who.address_limit and best or nil
  end
  for _, other in ipairs(ahead) do
    local place = choice(other, math.min(limit, other.service_limit))
    if place then
      local route = other.sources[place]
      taken_now, held[route] = taken_now + 1, (held[route] or 0) + 1
    end
  end
  return choice(ask, limit)
end

local function rooms(shut)
  local used, used_from = taken(spent, ask.service_period), used_by_route()
  local shown = { { used, math.max(shut, free_in({ spent }, ask.service_period, used - ask.service_limit + 1)) } }
  for _, route in ipairs(ask.sources) do
    shown[#shown + 1] = { load(route, used_from), math.max(shut, route_free_in(route, used_from)) }
  end
  return shown
end

local function granted(place, route, shut)
  return { place = place - 1, route = route, refusals = restraint.refusals, rooms = rooms(shut) }
end

local steps = {}

function steps.claim()
  if redis.call('ZSCORE', spent, ask.identity) then
    -- The answer to an earlier asking got lost.
    for route in pairs(sources) do
      if redis.call('ZSCORE', from(route), ask.identity) then
        for place, asked in ipairs(ask.sources) do
          if asked == route then
            return granted(place, route, 0)
          end
        end
        redis.call('ZREM', from(route), ask.identity)
      end
    end
    redis.call('ZREM', spent, ask.identity)
  end
  local probing = restraint.refusals > 0
  local limit = probing and ask.service_limit or limit_of(ask.service_limit)
  local used, used_from = taken(spent, ask.service_period), used_by_route()
  local ahead, shut = ahead_of(ask.claimant), shut_for()
  local place = next_source(limit, used, used_from, ahead)
  if shut > 0 or not place then
    local rivals = 0
    for _, other in ipairs(ahead) do
      rivals = rivals + (other.service_limit >= limit and 1 or 0)
    end
    local address = math.huge
    for _, route in ipairs(ask.sources) do
      address = math.min(address, route_free_in(route, used_from))
    end
    local wait = math.max(address, free_in({ spent }, ask.service_period, used - limit + 1 + rivals))
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
  local route = ask.sources[place]
  put(ask.identity, route, now + ask.longest, false)
  leave_queue(ask.claimant)
  if probing then
    restraint.probe, restraint.probe_until = ask.identity, now + math.min(ask.longest, ask.service_period)
  elseif restraint.ceiling and grown() >= ask.service_limit then
    restraint = { refusals = 0 }
  end
  return granted(place, route, 0)
end

function steps.settle()
  if ask.sent then
    put(ask.identity, ask.route, now + ask.over_in, ask.answered)
  else
    redis.call('ZREM', spent, ask.identity)
    for route in pairs(sources) do
      redis.call('ZREM', from(route), ask.identity)
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
  put(ask.identity, ask.route, now + ask.longest, false)
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
  put(ask.identity, ask.route, now, false)
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
reply.restarted = restarted or nil

redis.call('HSET', server, 'run', run, 'since', since)
redis.call('HSET', clock, 'raw', raw, 'now', now, 'reach', reach, 'longest', longest, 'full_until', full_until)
redis.call('HSET', clock, 'sources', cjson.encode(sources), 'accounts', cjson.encode(accounts), 'run', run)
redis.call('HSET', state, 'restraint', cjson.encode(restraint), 'service', ask.service, 'token', ask.token)
redis.call('HSET', state, 'limits', ask.limits, 'clock', clock, 'routes', ask.routes)
local held = restraint.refusals > 0 and math.max(0, restraint.hold_until - now) or 0
local lapse = math.floor((2 * (reach + longest) + held) / 1000) + 60000
for _, key in ipairs({ clock, state, spent, through, queue, waiters }) do
  redis.call('PEXPIRE', key, lapse)
end
for route in pairs(sources) do
  redis.call('PEXPIRE', from(route), lapse)
end
for _, key in ipairs({ secret, server }) do
  redis.call('PEXPIRE', key, math.max(lapse, ask.secret_lapse))
end
return cjson.encode(reply)
