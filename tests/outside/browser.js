// Watches a page in a headless browser over its debugging port: node browser.js DEBUGGER-URL PAGE-URL
//
// The page is the demo's. Its event stream must show at least two events, and what is typed into its form must come
// back from the echo WebSocket. It must fill a desktop's width and a phone's, and be readable by day and by night.
const { Page } = require('./devtools.js')
const [debuggerUrl, pageUrl] = process.argv.slice(2)

// Where the columns of the page's cards begin, whether anything is cut off, and the least contrast of its texts.
const LAYOUT = `(() => {
  const cards = [...document.querySelectorAll('.cards section')].map(card => card.getBoundingClientRect())
  const rgb = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number)
  const luminance = color => {
    const [r, g, b] = rgb(color).map(c => c / 255).map(c => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
    return .2126 * r + .7152 * g + .0722 * b
  }
  const behind = element => {
    const color = getComputedStyle(element).backgroundColor
    return color === 'rgba(0, 0, 0, 0)' && element.parentElement ? behind(element.parentElement) : color
  }
  const contrast = element => {
    const two = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a)
    return (two[0] + .05) / (two[1] + .05)
  }
  return JSON.stringify({
    columns: new Set(cards.map(card => Math.round(card.left))).size,
    filled: cards.reduce((sum, card) => sum + card.width * card.height, 0) /
      document.querySelector('.cards').getBoundingClientRect().width /
      document.querySelector('.cards').getBoundingClientRect().height,
    cut: document.documentElement.scrollWidth > innerWidth,
    dark: luminance(getComputedStyle(document.body).backgroundColor) < .1,
    contrast: Math.min(...[...document.querySelectorAll('h1, h2, p, small, b, pre, td, th, a, button')].map(contrast))
  })
})()`

async function looks (page) {
  for (const [width, columns] of [[1280, 2], [390, 1]]) {
    for (const scheme of ['light', 'dark']) {
      await page.call('Emulation.setDeviceMetricsOverride', { width, height: 800, deviceScaleFactor: 1, mobile: width < 500 })
      await page.call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
      const layout = JSON.parse(await page.evaluate(LAYOUT))
      const { cut, dark, contrast, filled } = layout
      if (layout.columns !== columns || cut || dark !== (scheme === 'dark') || contrast < 4.5 || filled < 0.8) {
        throw new Error(`${width} pixels, ${scheme}: ${JSON.stringify(layout)}`)
      }
    }
  }
}

async function watch () {
  const page = await Page.of(debuggerUrl)
  await page.call('Page.enable')
  await page.call('Page.navigate', { url: pageUrl })
  await page.until('the page is there', 'document.readyState === "complete" && document.querySelector("h1")?.textContent === "It works"')
  await page.until('the event stream is open', 'document.getElementById("stream").classList.contains("on")')
  await page.until('two events', '/event \\d+\\n[^]*event \\d+\\n/.test(document.getElementById("events").textContent)')
  await page.until('the WebSocket is open', 'document.getElementById("socket").classList.contains("on")')
  await page.evaluate('document.getElementById("text").value = "typed here"; document.getElementById("say").requestSubmit()')
  await page.until('the echo', 'document.getElementById("echoes").textContent.includes("\u2190 typed here")')
  await page.until('the headers', '[...document.querySelectorAll("tr.relayed th")].some(th => th.textContent === "x-forwarded-for")')
  await looks(page)
  page.close()
  console.log('page, event stream, WebSocket echo, the relayed headers; two widths, light and dark')
}

watch().catch(error => { console.error(error); process.exit(1) })
