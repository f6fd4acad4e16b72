// The server that `ringback gateway` stands in front of: node service.js
//   /D/         a page that follows the events    /D/events        an event each half second, numbered by the clock
//   /D/hello/N  says its path                     /D/bytes/SEED/N  N bytes of a seed, with ?chunked in chunks
//   /D/echo     the request's body, as it comes   /D/seen/ID       digest of the body, and how often ID came
//   any path with an upgrade: a WebSocket that echoes
'use strict'
const { createHash } = require('node:crypto')
const http = require('node:http')

const EVERY = 500 // milliseconds between events; event N is due N times as long after 1970

// Also part of the page.
function expected (id) {
  return `${id} ${Math.imul(id, 2654435761) >>> 0} ${'.'.repeat(id % 700)}`
}

// What the page does. Whoever watches it reads its console.
function follow (every) {
  const say = (...words) => console.log(JSON.stringify(words))
  let last = 0
  const source = new window.EventSource('events')
  source.onmessage = message => {
    const id = Number(message.lastEventId)
    if (message.data !== expected(id)) say('wrong', `event ${id} is ${message.data.slice(0, 80)}`, id * every)
    else if (last && id !== last + 1) say('wrong', `event ${id} behind ${last}`, id * every)
    else say('right', id * every, Date.now())
    last = id
  }
  source.onerror = () => say(source.readyState === window.EventSource.CLOSED ? 'dead' : 'failed', 'stream broke off')
}

const PAGE = `<!doctype html><title>events</title><script>${expected}\n(${follow})(${EVERY})</script>`

function events (request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  const now = () => Math.floor(Date.now() / EVERY)
  let last = Number(request.headers['last-event-id'] ?? now() - 1)
  // One that comes back gets what it has missed.
  const send = () => { while (last < now()) response.write(`id: ${++last}\ndata: ${expected(last)}\n\n`) }
  send()
  const timer = setInterval(send, EVERY / 5)
  response.on('close', () => clearInterval(timer))
}

const uploads = new Map()

function seen (request, response, id) {
  const hash = createHash('sha256')
  let bytes = 0
  uploads.set(id, (uploads.get(id) ?? 0) + 1)
  request.on('data', data => { hash.update(data); bytes += data.length })
  request.on('end', () => {
    const body = JSON.stringify({ id, bytes, sha256: hash.digest('hex'), times: uploads.get(id) })
    response.end(body)
  })
}

function bytes (response, seed, length, chunked) {
  response.writeHead(200, chunked ? {} : { 'Content-Length': length })
  response.end(createHash('shake128', { outputLength: Number(length) }).update(seed).digest())
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://service')
  const [, , what, ...rest] = url.pathname.split('/')
  if (what === '') return response.setHeader('Content-Type', 'text/html').end(PAGE)
  if (what === 'hello') return response.end(`hello from ${url.pathname}\n`)
  if (what === 'events') return events(request, response)
  if (what === 'bytes') return bytes(response, ...rest, url.searchParams.has('chunked'))
  if (what === 'seen') return seen(request, response, rest[0])
  if (what === 'echo') return request.pipe(response)
  response.writeHead(404).end()
})
server.keepAliveTimeout = 0

const WebSocket = require('ws')
new WebSocket.Server({ server }).on('connection', socket => {
  socket.on('error', () => {})
  socket.on('message', (data, binary) => socket.send(data, { binary }))
})
server.listen(0, '127.0.0.1', () => console.log(`listening at 127.0.0.1:${server.address().port}`))
