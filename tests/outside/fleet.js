// Classic and ptth gateways of many domains in one process, each written against docs/protocol.md alone:
//   node fleet.js PORT DOMAINS CONNECTIONS
// Even domains (d0, d2, …) speak ptth, odd ones classic. Each answers with its domain and the path it was asked for.
const net = require('node:net')
const [port, domains, connections] = process.argv.slice(2).map(Number)

const REGISTER = {
  ptth: domain => `GET /${domain} HTTP/1.1\r\nHost: relay\r\nConnection: upgrade\r\nUpgrade: ptth\r\nALPN: http%2F1.1\r\n\r\n`,
  classic: domain => `POST /${domain} HTTP/1.1\r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\nHost: relay\r\n\r\n`
}
const CLASSIC_101 = 'HTTP/1.1 101 \r\nUpgrade: PTTH/1.0\r\nConnection: Upgrade\r\n\r\n'
const CLASSIC_204 = 'HTTP/1.1 204 \r\n\r\n'

let waiting = domains * connections
let stopping = false

function fail (domain, what) {
  console.error(`wrong: ${domain}: ${what}`)
}

function gateway (domain, dialect) {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  let registered = false
  let input = ''
  socket.on('connect', () => {
    socket.write(REGISTER[dialect](domain))
    if (dialect === 'classic' && waiting > 0 && --waiting === 0) console.log('all are parked')
  })
  socket.on('data', data => {
    input += data.toString('latin1')
    if (!registered && !welcomed()) return
    for (let end; (end = input.indexOf('\r\n\r\n')) >= 0;) {
      const path = input.slice(0, end).split(' ', 2)[1]
      input = input.slice(end + 4)
      const body = `${domain} ${path}\n`
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    }
  })
  socket.on('error', () => {})
  socket.on('close', () => { if (!stopping) gateway(domain, dialect) })

  // Whether the relay's answer to the registration has come; what is behind it stays in `input`.
  function welcomed () {
    if (dialect === 'classic' && input === CLASSIC_204) {
      input = ''
      socket.write(REGISTER.classic(domain))
      return false
    }
    const end = input.indexOf('\r\n\r\n')
    if (end < 0) return false
    const head = input.slice(0, end + 4)
    const good = dialect === 'classic' ? head === CLASSIC_101 : head.startsWith('HTTP/1.1 101 Switching Protocols\r\n')
    if (!good) { fail(domain, JSON.stringify(head)); socket.destroy(); return false }
    input = input.slice(end + 4)
    registered = true
    if (dialect === 'ptth' && waiting > 0 && --waiting === 0) console.log('all are parked')
    return true
  }
}

for (let n = 0; n < domains; n++) {
  for (let i = 0; i < connections; i++) gateway(`d${n}`, n % 2 ? 'classic' : 'ptth')
}
process.on('SIGTERM', () => { stopping = true; process.exit(0) })
