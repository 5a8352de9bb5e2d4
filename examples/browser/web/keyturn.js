/**
 * Keeps a page logged in at a Keyturn issuer. Copy this file: it depends on nothing.
 *
 * The access token is in the memory of the page and nowhere else. The refresh token is in a cookie that no script can
 * read. So a new page has no token, and gets one with restore().
 *
 *     const session = createSession({ issuer: '/shop' });
 *     if (!(await session.restore())) await session.login(user, password);
 *     const orders = await session.fetch('/api/orders');
 */

/** How long one request to the issuer may take, in milliseconds. */
const requestTimeout = 4_000;
/** How long to wait for the token that another tab has just fetched, in milliseconds. */
const newsTimeout = 250;
/** The longest pause that the issuer can ask for with Retry-After, in seconds. */
const maxPause = 60;
/** A token in the last tenth of its life counts as expired, for what is under way takes time; at most this, in ms. */
const maxHeadroom = 10_000;

/** Why the session could not do what it was asked to. The login stays, unless `code` is 'login_required'. */
export class SessionError extends Error {
  /**
   * @param {string} code 'login_required': nobody is logged in (any more). 'subject_changed': somebody else is.
   *   'network': no answer. 'invalid_response': no answer of Keyturn's. Or what the issuer said, such as 'invalid_grant'
   *   for a wrong password.
   * @param {string} message a sentence for people
   * @param {{status?: number, retryAfter?: number, cause?: unknown}} [more] the HTTP status, 0 without an answer; and
   *   after how many seconds it is worth trying again
   */
  constructor(code, message, { status = 0, retryAfter = 0, cause } = {}) {
    super(message, { cause });
    this.name = 'SessionError';
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/**
 * @param {object} options
 * @param {string} options.issuer the URL of the issuer, or its path where the page has the same origin; '' for none
 * @param {string[]} [options.apiOrigins] who gets the access token; the page's own origin if absent
 * @param {typeof globalThis.fetch} [options.fetch] in place of the browser's
 * @returns {Session}
 */
export const createSession = (options) => new Session(options);

/**
 * Every change is an event 'change' whose detail.cause is 'login', 'refresh', 'shared' (another tab has got the token),
 * 'logout' or 'ended' (the issuer will not renew the login). An event 'retry' says that a request is sent once more.
 */
class Session extends EventTarget {
  /** @type {string | null | undefined} null when nobody is logged in, undefined as long as nobody has asked */
  #token;
  #claims = null;
  #expires = 0; // when the token expires and from when on it is renewed, in milliseconds since 1970
  #renewFrom = 0;
  #renewal; // the promise of the renewal under way, which all callers share
  #pause = { until: 0, error: undefined }; // what the issuer asked for with Retry-After
  #issuer;
  #apiOrigins;
  #fetch;
  #name;
  #channel;
  #queue = Promise.resolve(); // stands in for the lock where there are no Web Locks

  constructor({ issuer, apiOrigins = [location.origin], fetch = globalThis.fetch.bind(globalThis) }) {
    super();
    this.#issuer = new URL(issuer, location.origin).href.replace(/\/$/, '');
    this.#apiOrigins = new Set(apiOrigins.map((origin) => new URL(origin).origin));
    this.#fetch = fetch;
    this.#name = `keyturn ${this.#issuer}`;
    // Tabs share the access token by messages. Only pages of this very origin receive them, in memory, and each of
    // them could fetch a token with the cookie as well: whoever can listen here gains nothing by it.
    if ('BroadcastChannel' in globalThis) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#set(data, data.token ? 'shared' : data.cause);
    }
  }

  /** Whether somebody is logged in, as far as this page knows. */
  get loggedIn() { return typeof this.#token === 'string'; }
  /** What the access token says: to be shown, never to decide by, because nothing has verified it here. */
  get claims() { return this.#claims; }
  /** When the access token expires. */
  get expires() { return new Date(this.#expires); }

  /**
   * Opens a session. If it rejects, with a SessionError, whoever was logged in stays so.
   * @param {string} username
   * @param {string} password
   */
  async login(username, password) {
    await this.#exclusive(async () => this.#accept(await this.#post('login', { username, password }), 'login'));
  }

  /** Ends this session, in all tabs. Rejects if the issuer does not confirm it, and then it goes on. */
  logout() { return this.#leave('logout'); }
  /** Ends all sessions of this user, on all devices. */
  logoutEverywhere() { return this.#leave('logout-all'); }

  /** For every page load: gets an access token with the cookie. Resolves to whether somebody is logged in. */
  async restore() {
    try {
      if (!this.#fresh) await this.#renew(this.#token);
    } catch (error) {
      if (error.code !== 'login_required') throw error;
    }
    return this.loggedIn;
  }

  /**
   * Like fetch, with the access token for the API's origins. On a 401 the token is renewed and the request sent once
   * more; what comes then is the answer. A body that is a ReadableStream cannot be sent twice: its 401 is the answer,
   * and a call with a new stream goes out with the new token. Redirects are errors unless you ask for them with
   * `redirect: 'follow'`, because old browsers carry the token to where they lead.
   * @param {RequestInfo | URL} input
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  async fetch(input, init = {}) {
    const isRequest = input instanceof Request;
    const url = new URL(isRequest ? input.url : new Request(input).url);
    if (!this.#apiOrigins.has(url.origin)) return this.#fetch(input, init); // a foreign URL never sees the token
    if (this.#token === null) throw loginRequired();
    let subject = this.#claims?.sub;
    if (!this.#fresh) subject = await this.#renew(this.#token, subject);
    const token = this.#token;
    const answer = await this.#send(isRequest ? input.clone() : input, init);
    if (answer.status !== 401) return answer;
    await this.#renew(token, subject);
    if (init.body instanceof ReadableStream) return answer;
    void answer.body?.cancel();
    this.dispatchEvent(new CustomEvent('retry', { detail: { url: url.href } }));
    return this.#send(input, init);
  }

  #send(input, init) {
    const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
    headers.set('Authorization', `Bearer ${this.#token}`);
    return this.#fetch(input, { redirect: 'error', ...init, headers });
  }

  get #fresh() { return this.loggedIn && Date.now() < this.#renewFrom; }

  /** Replaces a token that is no longer good, once for all who found it so. Resolves to whom the new one is about. */
  async #renew(stale, subject) {
    this.#renewal ??= this.#exclusive((waited) => this.#refresh(stale, waited))
      .finally(() => { this.#renewal = undefined; });
    await this.#renewal;
    if (!this.loggedIn) throw loginRequired();
    // Another tab may have logged in somebody else meanwhile, who must not do what the first one asked for.
    if (subject !== undefined && subject !== this.#claims?.sub) {
      throw new SessionError('subject_changed', 'Somebody else has logged in meanwhile.');
    }
    return this.#claims?.sub;
  }

  async #refresh(stale, waited) {
    // Another tab had the lock, probably to refresh. Its token may arrive a moment after the lock.
    if (waited && this.#token === stale) await this.#news();
    if (this.#token !== stale) return;
    if (Date.now() < this.#pause.until) throw this.#pause.error;
    try {
      // An answer may be lost on its way. Asked again soon, the issuer repeats it; asked again after its grace window
      // (10 s), it would have to take the old refresh token in the cookie for a stolen one.
      const lost = (error) => { if (error.code !== 'network') throw error; return this.#post('refresh'); };
      this.#accept(await this.#post('refresh').catch(lost), 'refresh');
    } catch (error) {
      if (error.code === 'invalid_grant') return this.#tell({ token: null, cause: 'ended' }, 'ended');
      this.#pause = { until: Date.now() + error.retryAfter * 1000, error };
      throw error;
    }
  }

  async #leave(how) {
    await this.#exclusive(async () => {
      await this.#post(how);
      this.#tell({ token: null, cause: 'logout' }, 'logout');
    });
  }

  /**
   * Asks the issuer, and rejects with a SessionError if it does not do it.
   * @returns {Promise<any>} the JSON of its answer
   */
  async #post(what, body) {
    let answer, text;
    try {
      answer = await this.#fetch(`${this.#issuer}/session/${what}`, {
        method: 'POST', credentials: 'include', cache: 'no-store', redirect: 'error',
        keepalive: true, // the cookie of the answer is kept even if the user has left the page
        headers: { 'X-CSRF': '1', ...(body && { 'Content-Type': 'application/json' }) },
        body: body && JSON.stringify(body), signal: AbortSignal.timeout(requestTimeout),
      });
      text = await answer.text();
    } catch (cause) {
      throw new SessionError('network', 'The issuer does not answer. Try again.', { retryAfter: 1, cause });
    }
    let content = {};
    try { content = JSON.parse(text) ?? {}; } catch { /* a proxy's page, or no content */ }
    if (answer.ok) return content;
    throw new SessionError(content.error ?? 'invalid_response', content.error_description ?? `HTTP ${answer.status}`,
      { status: answer.status, retryAfter: pauseOf(answer) });
  }

  #accept({ access_token: token, expires_in: seconds }, cause) {
    if (typeof token !== 'string' || !(seconds > 0)) {
      throw new SessionError('invalid_response', 'The answer of the issuer has no access token.');
    }
    const [now, life] = [Date.now(), seconds * 1000];
    this.#tell({ token, expires: now + life, renewFrom: now + life - Math.min(life / 10, maxHeadroom) }, cause);
  }

  /** Takes a change and tells the other tabs. */
  #tell(state, cause) {
    this.#channel?.postMessage(state);
    this.#set(state, cause);
  }

  #set({ token, expires = 0, renewFrom = 0 }, cause) {
    const news = token !== null || this.loggedIn;
    [this.#token, this.#expires, this.#renewFrom, this.#claims] = [token, expires, renewFrom, decode(token)];
    if (token) this.#pause = { until: 0, error: undefined };
    if (news) this.dispatchEvent(new CustomEvent('change', { detail: { cause } }));
  }

  /** Resolves at the next change, or soon. */
  #news() {
    return new Promise((resolve) => {
      this.addEventListener('change', resolve, { once: true });
      setTimeout(resolve, newsTimeout);
    });
  }

  /** Does the work while no other tab does any. Where there are no locks: no other call of this tab; tabs that refresh
   * at once all get the same answer from Keyturn, so nothing breaks. `waited` is whether somebody else was first. */
  async #exclusive(work) {
    if (!navigator.locks) {
      const done = this.#queue.then(() => work(false));
      this.#queue = done.catch(() => {});
      return done;
    }
    const atOnce = (lock) => (lock ? work(false).then(() => true) : false);
    return (await navigator.locks.request(this.#name, { ifAvailable: true }, atOnce))
      || navigator.locks.request(this.#name, () => work(true));
  }
}

const loginRequired = () => new SessionError('login_required', 'Nobody is logged in.');

/** For how many seconds to leave the issuer alone. */
function pauseOf({ status, headers }) {
  if (status !== 429 && status < 500) return 0;
  const text = headers.get('Retry-After') ?? '';
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Math.min(Math.max(seconds || 1, 1), maxPause);
}

/** The claims of a JWT; null for none or anything else. */
function decode(token) {
  try {
    const bytes = atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))));
  } catch {
    return null;
  }
}
