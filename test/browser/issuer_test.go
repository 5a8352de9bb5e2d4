package browser

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/keyturn/keyturn/examples/browser/web"
)

// scripted plays an issuer at /shop and an API, as the tests want them to be. It hands out access tokens that are good
// until the next one is made or the test says otherwise, and a cookie as Keyturn does.
type scripted struct {
	*testing.T
	*httptest.Server

	mu sync.Mutex
	// subject is whom the next token is about, and expires how long it is said to live, in seconds.
	subject string
	expires float64
	// made counts the access tokens; good is the one that the API takes.
	made int
	good string
	// calls are the requests to the API, in order, and asked counts the requests to the issuer by what they asked for.
	calls []call
	asked map[string]int
	// answer answers requests to the issuer in place of the usual, if it is set and returns true.
	answer func(w http.ResponseWriter, what string, times int) bool
	// api answers requests to the API in place of the usual, if it is set and returns true.
	api func(w http.ResponseWriter, r *http.Request) bool
}

// call is a request to the API.
type call struct{ path, authorization, body string }

// pages are what a test opens: "/" with all that a browser has, "/plain" without Web Locks and BroadcastChannel, and
// "/slow" where the messages of other tabs arrive later than the lock, and "/hasty" where time is short.
var pages = map[string]string{
	"/{$}": page(""),
	"/slow": page(`globalThis.BroadcastChannel = class extends BroadcastChannel {
		set onmessage(listener) { super.onmessage = (event) => setTimeout(listener, 50, event); }
	};`),
	"/hasty": page(`globalThis.timeouts = [];
		const timeout = AbortSignal.timeout;
		AbortSignal.timeout = (milliseconds) => { timeouts.push(milliseconds); return timeout.call(AbortSignal, 100); };`),
	"/plain": page("Object.defineProperty(navigator, 'locks', { value: undefined }); delete globalThis.BroadcastChannel;"),
}

// page makes a session and notes its events. Its function code gives the code of the error that a promise rejects with.
func page(before string) string {
	return `<!doctype html><title>test</title><script>` + before + `</script><script type="module">
		import { createSession } from '/keyturn.js';
		globalThis.createSession = createSession;
		globalThis.session = createSession({ issuer: '/shop' });
		globalThis.events = [];
		session.addEventListener('change', ({ detail }) => events.push(detail.cause));
		session.addEventListener('retry', () => events.push('retry'));
		globalThis.code = (promise) => promise.then(() => 'none', (error) => error.code ?? String(error));
	</script>`
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	s := &scripted{T: t, subject: "alice", expires: 600, asked: map[string]int{}}
	mux := http.NewServeMux()
	for path, content := range pages {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, content)
		})
	}
	mux.Handle("GET /keyturn.js", http.FileServerFS(web.Files))
	mux.HandleFunc("POST /shop/session/{what}", s.serveIssuer)
	mux.HandleFunc("/api/", s.serveAPI)
	s.Server = httptest.NewUnstartedServer(mux)
	s.EnableHTTP2 = true // more than six requests at once
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

const cookieName = "__Secure-keyturn"

func (s *scripted) serveIssuer(w http.ResponseWriter, r *http.Request) {
	what := r.PathValue("what")
	if r.Header.Get("X-CSRF") == "" || r.Header.Get("Origin") != s.URL {
		s.Errorf("/session/%s has X-CSRF %q, Origin %q", what, r.Header.Get("X-CSRF"), r.Header.Get("Origin"))
	}
	s.mu.Lock()
	s.asked[what]++
	times, answer := s.asked[what], s.answer
	s.mu.Unlock()
	if answer != nil && answer(w, what, times) {
		return
	}
	_, noCookie := r.Cookie(cookieName)
	switch {
	case what == "login":
		var body struct{ Username, Password string }
		if json.NewDecoder(r.Body).Decode(&body) != nil || body.Password != "correct" {
			fail(w, http.StatusBadRequest, "invalid_grant")
			return
		}
	case what == "refresh" && noCookie != nil:
		fail(w, http.StatusBadRequest, "invalid_grant")
		return
	case what == "refresh":
	default:
		http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/shop/session", Secure: true, HttpOnly: true, MaxAge: -1})
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.mint(w)
}

// mint answers with an access token and the cookie.
func (s *scripted) mint(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	claims := fmt.Sprintf(`{"sub":%q,"n":%d}`, s.subject, s.made)
	s.good = "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl"
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: fmt.Sprint("refresh-", s.made), Path: "/shop/session",
		Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: 600,
	})
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": s.good, "token_type": "Bearer", "expires_in": s.expires})
}

func (s *scripted) serveAPI(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.calls = append(s.calls, call{r.URL.Path, r.Header.Get("Authorization"), string(body)})
	good, api := "Bearer "+s.good, s.api
	s.mu.Unlock()
	if api != nil && api(w, r) {
		return
	}
	if r.Header.Get("Authorization") != good {
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// expire makes the API refuse every token that has been handed out.
func (s *scripted) expire() { s.script(func() { s.good = "none" }) }

// script changes what is to be answered.
func (s *scripted) script(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// wantAsked checks how often the issuer was asked for something.
func (s *scripted) wantAsked(what string, want int) {
	s.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.asked[what]; got != want {
		s.Errorf("the issuer was asked %d times to %s, want %d", got, what, want)
	}
}

// seen returns the requests to the API so far.
func (s *scripted) seen() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[:len(s.calls):len(s.calls)]
}

// fail answers as Keyturn does (RFC 6749 section 5.2).
func fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": "It is so."})
}

// loggedIn opens the test's page in a new profile and logs alice in.
func (s *scripted) loggedIn(path string) *tab {
	s.Helper()
	b := newTab(s.T)
	b.open(s.URL + path)
	evaluate[any](b, `session.login('alice', 'correct')`)
	return b
}

// wantEvents compares the events that a page has seen.
func (b *tab) wantEvents(want string) {
	b.Helper()
	if got := strings.Join(evaluate[[]string](b, `events`), " "); got != want {
		b.Errorf("events %q, want %q", got, want)
	}
}
