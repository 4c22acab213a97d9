-- The ledger on a Redis server: one atomic step of one process. `Ledger` in interface.py says what the steps mean,
-- throttle_state.py and fairness.py explain the rules, script_arguments.py names the arguments.
--
-- KEYS: the secret of the record and what is known of its server; of the service its clock; of the rate limit key its
-- state, its requests by end, those of them that were answered, the queue by ticket, and who waits in it. `prefix`
-- begins the names of rate limit keys, `routes` those of the sets with the requests on one route to the service,
-- whatever their token. All names share a hash tag, so they live on one node of a cluster.
--
-- ARGV[1]: the step in JSON. Times are whole microseconds on a clock of the service that starts at 0: it advances by
-- the server's clock, but never goes back, and never further than the asking process knows time to have passed.
--
-- What is stored has names of its own, which belong to the format of the record: `accounts` are rate limit keys,
-- `reach` is the longest period, `longest` the longest request with its delay. In the throttle state, `restraint`,
-- `refusals` are consecutive 429s, `epoch` is the moment up to which claims are ignored, `since` when the ceiling
-- began to grow, and `growth` its growth in a microsecond.

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

-- A server that was started again may have come back from an old snapshot, and a replica that took over may lack the
-- latest steps. `since` is when that was noticed: what was spent before is not known.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''
local last_run = redis.call('HMGET', server, 'run', 'since')
local since = tonumber(last_run[2] or 0)
local restarted = last_run[1] and last_run[1] ~= run
if restarted then
  since = raw
end

local stored = redis.call('HMGET', clock, 'raw', 'now', 'reach', 'longest', 'full_until', 'sources', 'accounts', 'run')
local exists = stored[1] and true or false
local now, last = 0, 0
if exists then
  last = tonumber(stored[2])
  now = last + math.max(0, raw - tonumber(stored[1]))
  if ask.seen and now > ask.seen + ask.elapsed + TOLERANCE then
    now = math.max(last, ask.seen + ask.elapsed)
  end
end
local longest_period = math.max(ask.longest_period, tonumber(stored[3] or 0))
local longest_request = math.max(ask.longest_request + ask.max_count_delay, tonumber(stored[4] or 0))
local full_until = tonumber(stored[5] or 0)
local sources = cjson.decode(stored[6] or '{}')
local accounts = cjson.decode(stored[7] or '{}')
local stored_throttle = redis.call('HGET', state, 'restraint')
local throttle = exists and stored_throttle and cjson.decode(stored_throttle) or { refusals = 0 }
local own = {}
-- What is left of a service without a clock was counted on an earlier clock.
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

local function remove_expired(key)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - longest_period)
  return redis.call('ZCARD', key)
end

-- What is missing without having expired was removed from outside: then every window counts as full.
local by_route, by_key = 0, 0
for route in pairs(sources) do
  local requests = remove_expired(from(route))
  by_route = by_route + requests
  if requests == 0 and not own[route] then
    sources[route] = nil
  end
end
for rate_limit_key in pairs(accounts) do
  local requests = remove_expired(ask.prefix .. rate_limit_key .. ':spent')
  by_key = by_key + requests
  local has_state = redis.call('EXISTS', ask.prefix .. rate_limit_key .. ':state') == 1
  if requests == 0 and not has_state and rate_limit_key ~= ask.account then
    accounts[rate_limit_key] = nil
  end
end
local went_back = exists and ask.seen and last < ask.seen
local lost = (ask.known and not (exists and stored_throttle)) or by_route ~= by_key or went_back
remove_expired(through)
if ask.suspect or lost then
  full_until = math.max(full_until, now + longest_period + longest_request)
elseif since > 0 and stored[8] ~= run then
  local lost_for = longest_period + longest_request
  full_until = math.max(full_until, now + math.min(lost_for, math.max(0, since + lost_for - raw)))
end

local function used_in(key, period)
  return redis.call('ZCOUNT', key, '(' .. (now - period), '+inf')
end

-- The time until `count` of the requests in some sets together are a period old.
local function free_in(keys, period, count)
  if count <= 0 then
    return 0
  end
  local ends = {}
  for _, key in ipairs(keys) do
    local first = #keys == 1 and count - 1 or 0
    local scored =
      redis.call('ZRANGEBYSCORE', key, '(' .. (now - period), '+inf', 'WITHSCORES', 'LIMIT', first, count - first)
    for position = 2, #scored, 2 do
      ends[#ends + 1] = tonumber(scored[position])
    end
  end
  table.sort(ends)
  local last_end = #keys == 1 and ends[1] or ends[count]
  return last_end and math.max(0, last_end + period - now) or longest_period
end

-- A route names the addresses that a request may have left from; on the unknown route, which is empty, any.
local function addresses(route)
  local names = {}
  for address in string.gmatch(route, '%S+') do
    names[#names + 1] = address
  end
  return #names > 0 and names or { '' }
end

local function may_leave_from(route, address)
  return route == '' or address == '' or string.find(' ' .. route .. ' ', ' ' .. address .. ' ', 1, true) ~= nil
end

local function count_by_route()
  local counts = {}
  for route in pairs(sources) do
    counts[route] = used_in(from(route), ask.address_period)
  end
  return counts
end

-- How many requests count for one address, and the sets that hold them.
local function used_from(address, counts)
  local used, keys = 0, {}
  for route, count in pairs(counts) do
    if may_leave_from(route, address) then
      used, keys[#keys + 1] = used + count, from(route)
    end
  end
  return used, keys
end

local function requests_on(route, counts)
  local most = 0
  for _, address in ipairs(addresses(route)) do
    most = math.max(most, (used_from(address, counts)))
  end
  return most
end

local function route_free_in(route, counts)
  local wait = 0
  for _, address in ipairs(addresses(route)) do
    local used, keys = used_from(address, counts)
    wait = math.max(wait, free_in(keys, ask.address_period, used - ask.address_limit + 1))
  end
  return wait
end

local function put_request(identity, route, counted_by, answered)
  redis.call('ZADD', spent, counted_by, identity)
  redis.call('ZADD', from(route), counted_by, identity)
  sources[route] = true
  if answered then
    redis.call('ZADD', through, counted_by, identity)
  end
end

local function grown_ceiling()
  local elapsed = throttle.refusals == 0 and math.max(0, now - throttle.since) or 0
  return throttle.ceiling + elapsed * throttle.growth
end

local function effective_limit(configured_limit)
  if not throttle.ceiling then
    return configured_limit
  end
  return math.max(1, math.min(configured_limit, math.floor(grown_ceiling() + 1e-9)))
end

local function grows_in(configured_limit)
  local limit = effective_limit(configured_limit)
  if not throttle.ceiling or limit >= configured_limit then
    return math.huge
  end
  return math.max(0, (limit + 1 - grown_ceiling()) / throttle.growth)
end

local function blocked_for()
  local blocked = full_until - now
  if throttle.refusals > 0 then
    blocked = math.max(blocked, throttle.hold_until - now)
    if throttle.probe then
      blocked = math.max(blocked, throttle.probe_until - now)
    end
  end
  return math.max(0, blocked)
end

local function leave_queue(claimant)
  redis.call('ZREM', queue, claimant)
  redis.call('HDEL', waiters, claimant)
end

-- The processes that have waited longer than one, the longest first. Those that did not ask again in time are removed.
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

local function next_source(limit, used, counts, ahead)
  local granted, tentative = 0, {}
  for route, count in pairs(counts) do
    tentative[route] = count
  end
  local function choose(waiter, most)
    if used + granted >= most then
      return nil
    end
    local best, least
    for index, route in ipairs(waiter.sources) do
      local requests = requests_on(route, tentative)
      if not least or requests < least then
        best, least = index, requests
      end
    end
    return least < waiter.address_limit and best or nil
  end
  -- Earlier waiters are tentatively given their permits first.
  for _, waiter in ipairs(ahead) do
    local index = choose(waiter, math.min(limit, waiter.service_limit))
    if index then
      local route = waiter.sources[index]
      granted, tentative[route] = granted + 1, (tentative[route] or 0) + 1
    end
  end
  return choose(ask, limit)
end

local function windows(blocked)
  local used, counts = used_in(spent, ask.service_period), count_by_route()
  local usages = { { used, math.max(blocked, free_in({ spent }, ask.service_period, used - ask.service_limit + 1)) } }
  for _, route in ipairs(ask.sources) do
    usages[#usages + 1] = { requests_on(route, counts), math.max(blocked, route_free_in(route, counts)) }
  end
  return usages
end

-- What the service lets through at the moment, if that is less than the configured limit.
local function with_ceiling(reply)
  if throttle.ceiling and grown_ceiling() < ask.service_limit then
    reply.ceiling, reply.growth = grown_ceiling(), throttle.growth
  end
  return reply
end

local function granted_reply(index, route)
  return with_ceiling({
    index = index - 1,
    route = route,
    consecutive_429s = throttle.refusals,
    windows = windows(0),
  })
end

-- The reply to an earlier run of the same claim got lost: the same permit is granted again if its route still fits.
local function repeated_reply()
  if not redis.call('ZSCORE', spent, ask.identity) then
    return nil
  end
  for route in pairs(sources) do
    if redis.call('ZSCORE', from(route), ask.identity) then
      for index, current in ipairs(ask.sources) do
        if current == route then
          return granted_reply(index, route)
        end
      end
      redis.call('ZREM', from(route), ask.identity)
    end
  end
  redis.call('ZREM', spent, ask.identity)
  return nil
end

local function wait_reply(limit, used, counts, ahead, blocked)
  local rivals = 0
  for _, waiter in ipairs(ahead) do
    rivals = rivals + (waiter.service_limit >= limit and 1 or 0)
  end
  local address_free_in = math.huge
  for _, route in ipairs(ask.sources) do
    address_free_in = math.min(address_free_in, route_free_in(route, counts))
  end
  local wait = math.max(address_free_in, free_in({ spent }, ask.service_period, used - limit + 1 + rivals))
  wait = math.max(blocked, math.min(wait, grows_in(ask.service_limit)), ask.shortest_poll)
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
  return with_ceiling({ delay = wait, consecutive_429s = throttle.refusals, windows = windows(blocked) })
end

local steps = {}

function steps.claim()
  local repeated = repeated_reply()
  if repeated then
    return repeated
  end
  local is_probe = throttle.refusals > 0
  local limit = is_probe and ask.service_limit or effective_limit(ask.service_limit)
  local used, counts = used_in(spent, ask.service_period), count_by_route()
  local ahead, blocked = ahead_of(ask.claimant), blocked_for()
  local index = next_source(limit, used, counts, ahead)
  if blocked > 0 or not index then
    return wait_reply(limit, used, counts, ahead, blocked)
  end
  local route = ask.sources[index]
  put_request(ask.identity, route, now + ask.longest_request, false)
  leave_queue(ask.claimant)
  if is_probe then
    throttle.probe, throttle.probe_until = ask.identity, now + math.min(ask.longest_request, ask.service_period)
  elseif throttle.ceiling and grown_ceiling() >= ask.service_limit then
    throttle = { refusals = 0 }
  end
  return granted_reply(index, route)
end

function steps.release()
  if ask.sent then
    put_request(ask.identity, ask.route, now + ask.counted_in, ask.answered)
  else
    redis.call('ZREM', spent, ask.identity)
    for route in pairs(sources) do
      redis.call('ZREM', from(route), ask.identity)
    end
  end
  if throttle.probe == ask.identity then
    throttle.probe = nil
    if ask.answered then
      throttle.refusals, throttle.epoch, throttle.since = 0, ask.claimed_at, now
    elseif ask.sent then
      throttle.hold_until = now + ask.after_lost_probe
    end
  end
  return {}
end

function steps.renew()
  put_request(ask.identity, ask.route, now + ask.longest_request, false)
  return {}
end

-- As `RetryAfter.pause`.
local function pause(consecutive_429s)
  local function backoff(attempt)
    return ask.first_backoff * 2 ^ math.min(attempt - 1, 30) * (0.5 + ask.uniform / 2)
  end
  if ask.retry_after then
    local least = consecutive_429s > 2 and backoff(consecutive_429s - 2) or 0
    return math.min(math.max(ask.retry_after, least, ask.margin), ask.longest_retry_after) + ask.uniform * ask.margin
  end
  return math.min(ask.window_boundary or ask.period, backoff(consecutive_429s), ask.period)
end

function steps.report_throttled()
  put_request(ask.identity, ask.route, now, false)
  if throttle.probe == ask.identity or not throttle.epoch or ask.claimed_at > throttle.epoch then
    local consecutive_429s = throttle.refusals + 1
    local ceiling = effective_limit(ask.service_limit)
    if consecutive_429s == 1 then
      ceiling = math.max(1, math.min(ceiling, used_in(through, ask.service_period)))
    end
    throttle = {
      hold_until = math.floor(now + pause(consecutive_429s)),
      refusals = consecutive_429s,
      epoch = now,
      ceiling = ceiling,
      since = now,
      growth = ask.service_limit / ask.growth_periods / ask.period,
    }
  end
  return { hold = math.max(0, throttle.hold_until - now) }
end

function steps.leave_queue()
  leave_queue(ask.claimant)
  return {}
end

local reply = steps[ask.step]()
reply.now = now
reply.restarted = restarted or nil

redis.call('HSET', server, 'run', run, 'since', since)
redis.call('HSET', clock, 'raw', raw, 'now', now, 'reach', longest_period, 'longest', longest_request)
redis.call('HSET', clock, 'full_until', full_until, 'run', run)
redis.call('HSET', clock, 'sources', cjson.encode(sources), 'accounts', cjson.encode(accounts))
redis.call('HSET', state, 'restraint', cjson.encode(throttle), 'service', ask.service, 'token', ask.token)
redis.call('HSET', state, 'limits', ask.limits, 'clock', clock, 'routes', ask.routes)
local held = throttle.refusals > 0 and math.max(0, throttle.hold_until - now) or 0
local lapse = math.floor((2 * (longest_period + longest_request) + held) / 1000) + 60000
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
