-- PUT /v1/registrations/ID of a new machine each time. Arguments: a file with license keys, one a line; a number that makes
-- this run's ids others than those of the run before.
local threads = 0

function setup(thread)
    threads = threads + 1
    thread:set("number", threads)
end

local keys, base = {}, ""

function init(args)
    for key in io.lines(args[1]) do
        keys[#keys + 1] = key
    end
    math.randomseed(tonumber(args[2]) * 1000 + number)
    for _ = 1, 10 do
        math.random()
    end
end

local function uuid()
    return string.format(
        "%08x-%04x-4%03x-%04x-%08x%04x",
        math.random(0, 0xffffffff), math.random(0, 0xffff), math.random(0, 0xfff),
        math.random(0x8000, 0xbfff), math.random(0, 0xffffffff), math.random(0, 0xffff))
end

local function hash()
    return (uuid() .. uuid()):gsub("-", "")
end

function request()
    local body = string.format(
        '{"key":"%s","token_sha256":"%s","machine":"%s","hardware":"%s","os":{"id":"almalinux","version":"9.6"},"arch":"x86_64"}',
        keys[math.random(#keys)], hash(), uuid(), uuid())
    return wrk.format("PUT", "/v1/registrations/" .. uuid(), nil, body)
end
