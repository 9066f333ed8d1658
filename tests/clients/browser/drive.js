// Opens a page in headless Chromium, on a server of its own, so that the collector is of another origin to it,
// and waits until so many of its requests to the collector are answered.
// Prints one JSON object: what was posted and answered, the page's errors, requests to other machines (which
// are not let through), and what the page put into `window.sent`.
//
// Usage: drive.js CHROMIUM PAGE.html QUERY COUNT
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const { chromium } = require('playwright-core')

const [executablePath, page, query, count] = process.argv.slice(2)
const DEADLINE_MS = 60_000
const SDK = path.join(path.dirname(require.resolve('@segment/analytics-next/package.json')), 'dist/umd')
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
]

function serve(request, response) {
  const { pathname } = new URL(request.url, 'http://page')
  const asked = path.basename(pathname)
  const file = pathname.startsWith('/analytics-next/') ? path.join(SDK, asked) : page
  if (!fs.existsSync(file) || pathname === '/favicon.ico') {
    response.writeHead(404).end()
    return
  }
  response.setHeader('content-type', file.endsWith('.js') ? 'text/javascript' : 'text/html; charset=utf-8')
  fs.createReadStream(file).pipe(response)
}

async function main() {
  const server = http.createServer(serve)
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening))
  const own = `http://127.0.0.1:${server.address().port}`
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'browser-check-'))
  const seen = { posted: [], errors: [], elsewhere: [], sent: null }
  const browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS })
  try {
    const tab = await browser.newPage()
    tab.on('pageerror', (error) => seen.errors.push(String(error)))
    tab.on('console', (message) => message.type() === 'error' && seen.errors.push(message.text()))
    tab.on('requestfailed', (failed) => seen.errors.push(`${failed.url()}: ${failed.failure()?.errorText}`))
    await tab.route((url) => url.hostname !== '127.0.0.1', (route) => {
      seen.elsewhere.push(route.request().url())
      return route.abort()
    })
    const answered = new Promise((all) => {
      tab.on('response', (response) => {
        if (response.request().method() !== 'POST') return
        seen.posted.push({ path: new URL(response.url()).pathname, status: response.status() })
        if (seen.posted.length >= Number(count)) all()
      })
    })
    const late = new Promise((_, fail) => {
      setTimeout(() => fail(new Error(`not in time: ${JSON.stringify(seen)}`)), DEADLINE_MS).unref()
    })
    await tab.goto(`${own}/${query}`)
    await Promise.race([answered, late])
    // A page that tells what it sent has it as null until it knows.
    await tab.waitForFunction(() => window.sent !== null, null, { timeout: DEADLINE_MS })
    seen.sent = await tab.evaluate(() => window.sent ?? null)
  } finally {
    await browser.close()
    fs.rmSync(profile, { recursive: true, force: true })
    server.close()
  }
  console.log(JSON.stringify(seen))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
