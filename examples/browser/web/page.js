// The page around keyturn.js: everything here is for show.
import { createSession } from './keyturn.js';

const issuer = document.querySelector('meta[name="keyturn-issuer"]').content;
const session = createSession({ issuer });
const element = (id) => document.getElementById(id);

/** How many lines the log keeps. */
const logLines = 50;
/** How long the access token had to live when this page got it, in milliseconds: the full length of the countdown. */
let life = 0;

const sentences = {
  login: 'Logged in.',
  refresh: 'Got a new access token with the cookie.',
  shared: 'Got a new access token from another tab.',
  logout: 'Logged out.',
  ended: 'The login is over: the issuer does not renew it.',
};

session.addEventListener('change', ({ detail }) => {
  life = session.expires - Date.now();
  note(sentences[detail.cause]);
  show();
});
session.addEventListener('retry', ({ detail }) => note(`Sent ${new URL(detail.url).pathname} once more.`));

/** Adds a line to the log, or counts on if the last one says the same. */
function note(text) {
  const log = element('log');
  const last = log.firstChild;
  if (last?.dataset.text === text) {
    last.dataset.times = Number(last.dataset.times) + 1;
    last.lastChild.textContent = `${text} × ${last.dataset.times}`;
    return;
  }
  const line = document.createElement('li');
  Object.assign(line.dataset, { text, times: 1 });
  const [time, what] = [document.createElement('time'), document.createElement('span')];
  time.textContent = new Date().toLocaleTimeString([], { hour12: false });
  what.textContent = text;
  line.append(time, what);
  log.prepend(line);
  if (log.children.length > logLines) log.lastChild.remove();
}

/** Shows who is logged in. */
function show() {
  const { loggedIn, claims } = session;
  element('state').textContent = loggedIn ? 'Logged in' : 'Logged out';
  element('state').classList.toggle('on', loggedIn);
  element('session').hidden = !loggedIn;
  element('login').hidden = loggedIn;
  if (!loggedIn) element('answer').hidden = true;
  element('who').textContent = claims?.sub ?? '';
  element('claims').replaceChildren(...Object.entries(claims ?? {}).flatMap(([name, value]) => {
    const [term, description] = [document.createElement('dt'), document.createElement('dd')];
    term.textContent = name;
    description.textContent = typeof value === 'string' ? value : JSON.stringify(value);
    return [term, description];
  }));
  tick();
}

function tick() {
  const left = Math.max(0, session.expires - Date.now());
  element('left').value = life > 0 ? left / life : 0;
  element('countdown').textContent = left > 0 ? `${Math.ceil(left / 1000)} s` : 'expired';
}
setInterval(tick, 250);

/** Calls the API so many times at once, and shows what it said. */
async function call(times) {
  const start = performance.now();
  const calls = Array.from({ length: times }, () => session.fetch('/api/orders'));
  const answers = await Promise.all(calls);
  const took = Math.round(performance.now() - start);
  const bodies = await Promise.all(answers.map((answer) => answer.text()));
  const counts = Object.entries(Object.groupBy(answers, (answer) => answer.status));
  const summary = counts.map(([status, list]) => (times > 1 ? `${list.length} × ${status}` : status)).join(', ');
  note(`GET /api/orders: ${summary}, in ${took} ms.`);
  element('answer').textContent = bodies[0].trim();
  element('answer').hidden = false;
}

/** Makes a button do something, once at a time, and says what went wrong. */
function on(id, action) {
  element(id).addEventListener('click', async () => {
    element(id).disabled = true;
    try {
      await action();
    } catch (error) {
      note(error.message);
    } finally {
      element(id).disabled = false;
    }
  });
}
on('call', () => call(1));
on('calls', () => call(20));
on('logout', () => session.logout());
on('everywhere', () => session.logoutEverywhere());

element('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  const { username, password } = event.target.elements;
  const button = event.target.querySelector('button');
  element('problem').hidden = button.disabled = true;
  try {
    await session.login(username.value, password.value);
    element('call').focus();
  } catch (error) {
    element('problem').textContent = error.message;
    element('problem').hidden = false;
  } finally {
    password.value = '';
    button.disabled = false;
  }
});

try {
  if (!(await session.restore())) note('Nobody is logged in.');
  show();
} catch (error) {
  // The cookie may well be good: the issuer only cannot say so now.
  note(error.message);
  element('state').textContent = 'The issuer cannot be reached';
  setTimeout(() => location.reload(), Math.max(error.retryAfter, 5) * 1000);
}
