// A device behind a firewall, reachable through a relay: node device.js HOST PORT DOMAIN
//
// It dials out, waits, answers one request a connection, and needs nothing but Node itself.
'use strict'
const net = require('node:net')
const { setTimeout: sleep } = require('node:timers/promises')
const [host, port, domain] = process.argv.slice(2)

const CONNECTIONS = 2 // while one serves a client, another waits for the next
const SILENCE = 75 // seconds: a relay that is there says something every 70
const [LINGER, LEFTOVER] = [2, 1 << 20] // seconds and bytes that a client may go on sending after its answer
const [FIRST_PAUSE, LONGEST_PAUSE] = [0.1, 10] // seconds between attempts that fail

// Returns the next bytes; throws `end` at the end of the connection, and after a reset or silence what that was.
async function read (relay, end) {
  const { value, done } = await relay.incoming.next()
  if (done) throw new Error(end)
  return value
}

// Reads up to the blank line; returns the first line and the length of the body.
async function readHead (relay) {
  let end
  while ((end = relay.unread.indexOf('\r\n\r\n')) < 0) {
    relay.unread = Buffer.concat([relay.unread, await read(relay, 'the relay ended the connection')])
  }
  const head = relay.unread.toString('latin1', 0, end)
  relay.unread = relay.unread.subarray(end + 4)
  return [head.split('\r\n')[0], Number(/\ncontent-length:\s*(\d+)/i.exec(head)?.[1] ?? 0)]
}

async function answer (relay) {
  const [request, length] = await readHead(relay)
  let left = length - relay.unread.length
  while (left > 0) left -= (await read(relay, 'the client left in the middle of its request')).length
  const body = `hello from a device in JavaScript, ${request}\n`
  const head = 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n' +
    `Content-Length: ${body.length}\r\n\r\n`
  relay.socket.write(request.startsWith('HEAD ') ? head : head + body, 'latin1')
}

// Ends a connection. Closed while there is unread input it would be reset, and the answer could be lost.
async function finish (relay) {
  await new Promise(resolve => relay.socket.end(resolve))
  const alarm = setTimeout(() => relay.socket.destroy(), LINGER * 1000)
  try {
    for (let left = LEFTOVER; left > 0;) left -= (await read(relay, 'that was all')).length
  } catch {} finally { clearTimeout(alarm) }
}

async function keepServing () {
  const registration = `POST /${domain} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: ${host}\r\n\r\n`
  for (let pause = FIRST_PAUSE; ;) {
    const socket = net.connect({ host, port, allowHalfOpen: true }) // a client may end its side before its answer
    const relay = { socket, incoming: socket[Symbol.asyncIterator](), unread: Buffer.alloc(0) }
    socket.setTimeout(SILENCE * 1000, () => socket.destroy(new Error('timed out')))
    socket.on('error', () => {}) // `read` throws it
    try {
      for (let status = '204'; status === '204';) { // nobody came: ask again
        socket.write(registration)
        status = (await readHead(relay))[0].slice(9, 12)
        if (status !== '101' && status !== '204') throw new Error(`the relay answered ${status}`)
        pause = FIRST_PAUSE
      }
      await answer(relay)
      await finish(relay)
    } catch (error) {
      const wait = pause * (0.5 + Math.random() / 2) // or all devices would be back at once when the relay is
      console.error(`${error.message || error.code}; trying again in ${wait.toFixed(3)} s`)
      await sleep(wait * 1000)
      pause = Math.min(2 * pause, LONGEST_PAUSE)
    } finally { socket.destroy() }
  }
}

for (let n = 0; n < CONNECTIONS; n++) keepServing()
