// A device behind a firewall, reachable through a relay: node device.js HOST PORT DOMAIN
//
// It dials out, waits, and lets Node's own HTTP server answer whatever comes down that connection.
'use strict'
const http = require('node:http')
const net = require('node:net')
const [host, port, domain] = process.argv.slice(2)

const server = http.createServer((request, response) => {
  const body = `hello from a device in JavaScript, ${request.method} ${request.url}\n`
  request.resume().on('end', () => {
    response.writeHead(200, { Connection: 'close', 'Content-Length': body.length })
    response.end(body)
  })
})

function park () {
  const relay = net.connect(port, host)
  const register = () =>
    relay.write(`POST /${domain} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: ${host}\r\n\r\n`)
  let answer = Buffer.alloc(0)
  relay.on('connect', register)
  relay.on('data', function listen (bytes) {
    answer = Buffer.concat([answer, bytes])
    const end = answer.indexOf('\r\n\r\n') + 4
    if (end < 4) return
    const status = answer.toString('latin1', 9, 12)
    const rest = answer.subarray(end)
    answer = Buffer.alloc(0)
    if (status === '204') return register() // nobody came: ask again
    if (status !== '101') return relay.destroy(new Error(`the relay answered ${status}`))
    relay.off('data', listen)
    relay.pause()
    relay.unshift(rest) // the request, or its beginning
    server.emit('connection', relay)
    relay.resume()
    park() // the next client shall not have to wait
  })
  relay.on('error', error => console.error(`${error.message}; trying again`))
  relay.on('close', failed => { if (failed) setTimeout(park, 1000) })
}
park()
