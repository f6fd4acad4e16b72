// Says how node has read each request: its target and the length of its body, in the header X-Said.
const http = require('node:http')
const server = http.createServer((request, response) => {
  let bytes = 0
  request.on('data', data => { bytes += data.length })
  request.on('end', () => {
    response.setHeader('X-Said', JSON.stringify({ url: encodeURI(request.url), bytes }))
    response.end('said\n')
  })
  request.on('error', () => response.destroy())
})
server.listen(0, '127.0.0.1', () => console.log(`listening at 127.0.0.1:${server.address().port}`))
