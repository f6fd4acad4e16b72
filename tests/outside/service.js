// An ordinary web server for gateways to stand in front of.
//   /hello    a short text            /echo     the request's body, as it comes
//   /seen     what arrived, as JSON   /bytes/N  N bytes, by length or (with ?chunked) in chunks
const { createHash } = require('node:crypto')
const http = require('node:http')

const BLOCK = Buffer.from(Array.from({ length: 65536 }, (_, i) => (i * 7 + (i >> 8) * 13) & 255))

async function send (response, left) {
  while (left > 0) {
    const block = BLOCK.subarray(0, Math.min(left, BLOCK.length))
    left -= block.length
    if (!response.write(block)) await new Promise(resolve => response.once('drain', resolve))
  }
  response.end()
}

const server = http.createServer((request, response) => {
  const url = new URL(request.url, 'http://service')
  if (url.pathname === '/hello') {
    response.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Length': 6 })
    return response.end('hello\n')
  }
  if (url.pathname === '/echo') {
    const length = request.headers['content-length']
    response.writeHead(200, length ? { 'Content-Length': length } : {})
    return request.pipe(response)
  }
  if (url.pathname === '/seen') {
    const hash = createHash('sha256')
    let bytes = 0
    request.on('data', data => { hash.update(data); bytes += data.length })
    return request.on('end', () => {
      const { method, url, httpVersion, headers, trailers } = request
      const seen = { method, url, httpVersion, headers, trailers, bytes, sha256: hash.digest('hex') }
      const body = JSON.stringify(seen) + '\n'
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) })
      response.end(body)
    })
  }
  const bytes = /^\/bytes\/(\d+)$/.exec(url.pathname)
  if (bytes) {
    response.writeHead(200, url.searchParams.has('chunked') ? {} : { 'Content-Length': bytes[1] })
    return request.method === 'HEAD' ? response.end() : send(response, Number(bytes[1]))
  }
  response.writeHead(404, { 'Content-Length': 0 })
  response.end()
})
server.keepAliveTimeout = 0
server.listen(0, '127.0.0.1', () => console.log(`listening at 127.0.0.1:${server.address().port}`))
