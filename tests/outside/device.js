// npm's reverse-http as a classic device: node device.js PORT DOMAIN
const ReverseServer = require('reverse-http')
const [port, domain] = process.argv.slice(2)
const headers = {}
const device = new ReverseServer({ host: '127.0.0.1', port: Number(port), path: '/' + domain, headers })
let served = 0
device.on('request', (request, response) => {
  let body = ''
  request.setEncoding('utf8')
  request.on('data', data => { body += data })
  request.on('end', () => {
    served += 1
    response.end(`${domain} ${served} ${request.method} ${request.url} ${body}\n`)
  })
})
device.on('error', error => { console.error(`failed: ${error.message}`); process.exit(1) })
console.log('started')
